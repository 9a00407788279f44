#!/bin/bash
# Builds the Go programs of tests and demo, pinned by go.mod, into the cache and
# prints their directory. Does nothing when this state of the pins was built before.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

kubernetes=v1.37.2
helm=v3.22.0
links="coredns etcd etcdctl kubectl kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubelet"

if [ ! -e "$RAFTERY_TOOLS/.complete" ]; then
  mkdir -p "$RAFTERY_TOOLS"
  cd "$ROOT/hack/tools"
  version="-X k8s.io/component-base/version.gitVersion=$kubernetes"
  version+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
  version+=" -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes"
  export CGO_ENABLED=0
  say "downloading Go modules" >&2
  go mod download
  say "building devkube (Kubernetes $kubernetes, etcd, CoreDNS): about 10 minutes the first time" >&2
  go build -trimpath -ldflags "-s -w $version" -o "$RAFTERY_TOOLS/devkube" .
  say "building helm $helm" >&2
  go build -trimpath -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$helm" \
    -o "$RAFTERY_TOOLS/helm" helm.sh/helm/v3/cmd/helm
  for name in $links; do ln -sfn devkube "$RAFTERY_TOOLS/$name"; done
  touch "$RAFTERY_TOOLS/.complete"
fi
# For people and shells: a path that does not change with the pins.
ln -sfn "$TOOLS_HASH/bin" "$RAFTERY_CACHE/tools/current"
say "$RAFTERY_TOOLS"
