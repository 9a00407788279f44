#!/bin/bash
# What a change must satisfy besides the tests. Only reads the checkout; `make fix` rewrites.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
start_log verify
own_target
trap stop_step EXIT
cargo_deny=0.20.2

syntax() {
  local f
  # files without a suffix are known by their first line
  git ls-files hack .ci | while read -r f; do
    case "$f $(head -c 15 "$f" | tr -d '\0')" in
      *.sh\ * | *'#!/bin/bash'*) bash -n "$f" ;;
    esac
  done
}

licences() {
  local home=$RAFTERY_CACHE/cargo-deny-$cargo_deny
  # outside the checkout, whose .cargo/config.toml is not for it
  [ -x "$home/bin/cargo-deny" ] ||
    (cd / && CARGO_TARGET_DIR=$home/target cargo install cargo-deny --version $cargo_deny --locked --root "$home" &&
      rm -rf "$home/target")
  "$home/bin/cargo-deny" --locked check licenses bans sources
}

go_vet() {
  (cd hack/devcluster/mongodb-standin && go vet .)
  local unformatted
  unformatted=$(gofmt -l hack/tools hack/devcluster)
  [ -z "$unformatted" ] || { say "not formatted: $unformatted"; return 1; }
}

failed=0
check() { step "$@" || failed=1; }
check "shell scripts" syntax
check "rustfmt" cargo fmt --all --check
check "Go" go_vet
check "clippy" cargo clippy --release --locked --workspace --all-targets -- -D warnings
# --all-targets leaves out what runs only when named
check "clippy of the long tests" cargo clippy --release --locked --workspace --test processes --test kubernetes -- -D warnings
check "CRDs are up to date" hack/crds.sh --check
step "helm from its Go module" hack/tools/build.sh
check "helm lint" helm lint --strict charts/raftery
check "licences, bans and sources" licences
if ((failed)); then die "verify failed"; fi
say "verified"
