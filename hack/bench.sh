#!/bin/bash
# Raftery beside etcd on this machine: builds both, measures, and writes docs/benchmarks.md.
# With arguments it does what they say: hack/bench.sh steady --minutes 10, hack/bench.sh --help,
# hack/bench.sh faults --case leader-killed --times 3.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
start_log bench
trap stop_step EXIT

# The pinned etcd, but alone, as it is released: within the program that also holds all of
# Kubernetes it has 80 MiB more in memory.
etcd_alone() {
  cd hack/tools
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$RAFTERY_TOOLS/etcd-alone" go.etcd.io/etcd/server/v3
}

step "checking this machine" hack/preflight.sh
step "Go modules" hack/tools/build.sh
step "etcd" etcd_alone
step "building node and load" hack/build.sh
trap - EXIT
# On the disk: where the directory for temporary files lies in memory, a sync costs nothing.
export TMPDIR=$CHECKOUT_CACHE/bench
mkdir -p "$TMPDIR"
bench=$CARGO_TARGET_DIR/$(host_triple)/release/raftery-bench
commit=$(git describe --always --dirty --exclude '*' 2> /dev/null || true)
case ${1:-} in
  '') exec "$bench" compare --growth --write-docs docs ${commit:+--commit "$commit"} ;;
  faults) exec "$bench" "$@" ${commit:+--commit "$commit"} ;;
  *) exec "$bench" "$@" ;;
esac
