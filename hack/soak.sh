#!/bin/bash
# What takes too long for every run of the tests: those of them that have a long form, in it, and
# an hour of new seeds for the simulator (FOR=seconds for another time).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
start_log soak
trap stop_step EXIT
own_target
tests=(cargo test --release --locked --workspace --no-fail-fast --test processes)

step "checking this machine" hack/preflight.sh
step "etcdctl and others from their Go modules" hack/tools/build.sh
step "MongoDB stand-in" hack/tools/mongodb-standin.sh
step "building node and tools" hack/build.sh
step "building the tests" "${tests[@]}" --no-run
export RAFTERY_SOAK=1
step "ten healthy minutes" "${tests[@]}" -- --show-output healthy_members
grep verdicts, "$STEP_LOG" || die "the test that watches healthy members didn't run"
step "MongoDB and leaders killed, connections cut" "${tests[@]}" -- --show-output verify_agrees
grep -E "killed .* times|differences" "$STEP_LOG" || die "the test that kills MongoDB didn't run"
unset RAFTERY_SOAK
FOR=${FOR:-3600} step "simulator, new seeds" hack/sim.sh
tail -n 20 "$STEP_LOG"
say "all well after $(((SECONDS - STEPS_BEGAN) / 60)) min"
