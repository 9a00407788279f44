#!/bin/bash
# Every test: units, bare processes, and a real Kubernetes in the development cluster (or the
# one of KUBECONFIG with RAFTERY_USE_KUBECONFIG=1). Ends with one line "N passed, N failed".
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
start_log test
passed=0 failed=0
# A cluster of its own: one that `make demo` left up is neither used nor removed.
export RAFTERY_DEVCLUSTER_NAME=test
devcluster=$RAFTERY_DEVCLUSTER

finish() {
  local status=$?
  stop_step
  if [ -z "${done:-}" ] && ((status == 0 || failed == 0)); then failed=$((failed + 1)); fi
  if [ "${RAFTERY_USE_KUBECONFIG:-}" != 1 ]; then "$devcluster/down" || failed=$((failed + 1)); fi
  say
  say "took $(((SECONDS - STEPS_BEGAN) / 60)) min $(((SECONDS - STEPS_BEGAN) % 60)) s; logs: $LOG_DIR"
  say "$passed passed, $failed failed"
  ((failed == 0)) || exit 1
}
trap finish EXIT

# suite NAME COMMAND...: a step that runs Rust tests; a failure is counted, not fatal.
suite() {
  local status=0 counts p f
  step "$@" || status=$?
  counts=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$STEP_LOG" |
    awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }')
  read -r p f <<< "$counts"
  # it did not build, or a test ended the whole program
  if ((status != 0 && f == 0)); then f=1; fi
  passed=$((passed + p)) failed=$((failed + f))
  sed -n 's/^figure: /          /p' "$STEP_LOG"
  say "          $p passed, $f failed"
}

# check NAME COMMAND...: a step that is one test.
check() {
  if step "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# What a failed test leaves to look at, before the cluster goes.
evidence() {
  local dir=$LOG_DIR/cluster
  mkdir -p "$dir"
  "$devcluster/run" kubectl get all,pvc,raftclusters --all-namespaces --output wide > "$dir/objects.txt" 2>&1 || true
  "$devcluster/run" kubectl get raftclusters --all-namespaces --output yaml > "$dir/raftclusters.yaml" 2>&1 || true
  "$devcluster/run" kubectl get events --all-namespaces --sort-by=.lastTimestamp > "$dir/events.txt" 2>&1 || true
  (. "$devcluster/env.sh" && for n in $NODES; do cp -r "$STATE/$n/var/log/pods" "$dir/pods-$n"; done) || true
  say "          what the cluster looked like: $dir"
}

unchanged_host() { "$devcluster/hoststate" | diff "$LOG_DIR/host-before" -; }

cargo_tests=(cargo test --release --locked --workspace --no-fail-fast)

step "checking this machine" hack/preflight.sh
step "Kubernetes, etcd and helm from their Go modules" hack/tools/build.sh
step "MongoDB stand-in" hack/tools/mongodb-standin.sh
step "building node and operator" hack/build.sh
# one selection of packages throughout: another one may select other features and build anew
step "building the tests" "${cargo_tests[@]}" --no-run
step "building the end-to-end tests" "${cargo_tests[@]}" --no-run --test processes --test kubernetes
# e2e's tests say `test = false`: they run only when they are named
suite "unit tests and simulations" "${cargo_tests[@]}"
check "simulator: three minutes of new seeds" hack/sim.sh
check "simulator: every deliberate defect is found" hack/mutants.sh
suite "bare processes" "${cargo_tests[@]}" --test processes -- --show-output
step "images" hack/image.sh

if [ "${RAFTERY_USE_KUBECONFIG:-}" = 1 ]; then
  unset RAFTERY_DEVCLUSTER
  suite "Kubernetes (of $KUBECONFIG)" "${cargo_tests[@]}" --test kubernetes -- --test-threads=1 --show-output
else
  "$devcluster/down"
  "$devcluster/hoststate" > "$LOG_DIR/host-before"
  step "development cluster" "$devcluster/up"
  step "images into its nodes" "$devcluster/images-load" "$IMAGES_DIR"/{raftery-node,raftery-node-next,raftery-operator,mongodb-standin}.tar
  before=$failed
  # inside there is no network to fetch anything from, and no need
  CARGO_NET_OFFLINE=true suite "Kubernetes" "$devcluster/run" "${cargo_tests[@]}" --test kubernetes -- --test-threads=1 --show-output
  ((failed == before)) || evidence
  check "removing the development cluster" "$devcluster/down"
  check "the host is as it was" unchanged_host
fi
done=1
