#!/bin/bash
# Raftery beside etcd on this machine: builds both, measures, and writes docs/benchmarks.md.
# With arguments it does what they say: hack/bench.sh steady --minutes 10, hack/bench.sh --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
start_log bench
trap stop_step EXIT

step "checking this machine" hack/preflight.sh
step "etcd from its Go module" hack/tools/build.sh
step "building node and load" hack/build.sh
# a disk's directory: where temporary files lie in memory, a sync costs nothing
data=$CHECKOUT_CACHE/bench
mkdir -p "$data"
bench=$CARGO_TARGET_DIR/$(host_triple)/release/raftery-bench
trap - EXIT
if (($#)); then
  case $1 in
    compare | steady) exec "$bench" "$@" --dir "$data" ;;
    *) exec "$bench" "$@" ;;
  esac
fi
commit=$(git describe --always --dirty --exclude '*' 2> /dev/null || true)
exec "$bench" compare --growth --write-docs docs --dir "$data" ${commit:+--commit "$commit"}
