#!/bin/bash
# image.sh [pause|product|mongodb]...: builds images as docker archives and prints their
# directory; all of them by default. No Docker engine, registry or network is needed.
#
#   pause     localhost/raftery-pause:dev             what holds a pod's namespaces together
#   product   localhost/raftery-node:dev, localhost/raftery-operator:dev, and
#             localhost/raftery-node:next: the same node under another digest, to roll to
#   mongodb   localhost/raftery-mongodb-standin:dev   in place of the official mongo image
#
# An archive whose inputs are unchanged is left as it is.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -gt 0 ] || set -- pause product mongodb

mkdir -p "$IMAGES_DIR"
exec 9> "$IMAGES_DIR/.lock"
flock 9
work=$(mktemp -d "$IMAGES_DIR/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

unchanged() { # name inputs-hash: is there an archive of exactly these inputs?
  [ -e "$IMAGES_DIR/$1.tar" ] && [ "$(cat "$IMAGES_DIR/$1.inputs" 2> /dev/null)" = "$2" ]
}

build() { # name tag inputs-hash buildah-arguments...
  local name=$1 tag=$2 inputs=$3
  shift 3
  local store=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
  buildah "${store[@]}" build --quiet --isolation chroot --timestamp 0 --tag "$tag" "$@" > /dev/null
  rm -f "$IMAGES_DIR/$name.tar" "$IMAGES_DIR/$name.inputs"
  buildah "${store[@]}" push --quiet "$tag" "docker-archive:$IMAGES_DIR/$name.tar:$tag"
  echo "$inputs" > "$IMAGES_DIR/$name.inputs"
  say "built $tag: $IMAGES_DIR/$name.tar ($(du -h "$IMAGES_DIR/$name.tar" | cut -f1))" >&2
}

hash_of() { cat "$@" | sha256sum | cut -c1-64; }

pause() {
  local source=$ROOT/hack/devcluster/pause.c inputs
  inputs=$(hash_of "$source" "$0")
  if unchanged pause "$inputs"; then return; fi
  mkdir -p "$work/pause"
  gcc -static -Os -s -o "$work/pause/pause" "$source"
  printf 'FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n' > "$work/pause/Dockerfile"
  build pause localhost/raftery-pause:dev "$inputs" "$work/pause"
}

product() {
  local out=$work/build/out name inputs
  # What the Dockerfile's stage "build" would leave, from the binaries that the tests run.
  mkdir -p "$out/data"
  for name in raftery-node raftery-operator; do
    [ -x "$RAFTERY_BIN_DIR/$name" ] || die "$RAFTERY_BIN_DIR/$name is missing: run hack/build.sh first"
    strip -o "$out/$name" "$RAFTERY_BIN_DIR/$name"
  done
  mkdir "$work/context"
  local from=(--build-context "build=$work/build" --file "$ROOT/Dockerfile")
  inputs=$(hash_of "$out/raftery-node" "$ROOT/Dockerfile" "$0")
  unchanged raftery-node "$inputs" ||
    build raftery-node localhost/raftery-node:dev "$inputs" "${from[@]}" --target node "$work/context"
  unchanged raftery-node-next "$inputs" ||
    build raftery-node-next localhost/raftery-node:next "$inputs" "${from[@]}" --target node \
      --label org.opencontainers.image.version=next "$work/context"
  inputs=$(hash_of "$out/raftery-operator" "$ROOT/Dockerfile" "$0")
  unchanged raftery-operator "$inputs" ||
    build raftery-operator localhost/raftery-operator:dev "$inputs" "${from[@]}" --target operator "$work/context"
}

mongodb() {
  local source=$ROOT/hack/devcluster/mongodb-standin root=$work/mongodb/root library inputs
  [ -x "$RAFTERY_SECANTUS" ] || die "the MongoDB stand-in is missing: run hack/tools/mongodb-standin.sh first"
  inputs=$(hash_of "$source/main.go" "$source/Dockerfile" "$RAFTERY_SECANTUS" "$0")
  if unchanged mongodb-standin "$inputs"; then return; fi
  mkdir -p "$root/usr/local/bin" "$root/tmp" "$work/mongodb/data/db"
  chmod 1777 "$root/tmp"
  (cd "$source" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$root/usr/local/bin/docker-entrypoint" .)
  strip -o "$root/usr/local/bin/secantusd-rs" "$RAFTERY_SECANTUS"
  for library in $(ldd "$RAFTERY_SECANTUS" | grep -o '/[^ ]*'); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
  cp "$source/Dockerfile" "$work/mongodb/"
  build mongodb-standin localhost/raftery-mongodb-standin:dev "$inputs" "$work/mongodb"
}

for what in "$@"; do
  case $what in
    pause | product | mongodb) "$what" ;;
    *) die "unknown image $what: pause, product or mongodb" ;;
  esac
done
say "$IMAGES_DIR"
