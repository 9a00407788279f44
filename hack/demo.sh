#!/bin/bash
# From a bare machine to a healed cluster: builds everything, starts a real Kubernetes, and runs
# the demo in it. The cluster stays up.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
start_log demo
trap stop_step EXIT

say "Raftery demo. The first run builds everything, Kubernetes included: half an hour or more on two"
say "cores. Later ones take a few minutes. Logs: $LOG_DIR"
say
step "checking this machine" hack/preflight.sh
step "Kubernetes, etcd and helm from their Go modules" hack/tools/build.sh
step "building node, operator and demo" hack/build.sh
if [ "${RAFTERY_USE_KUBECONFIG:-}" = 1 ]; then
  unset RAFTERY_DEVCLUSTER
  run=() enter=
else
  step "MongoDB stand-in" hack/tools/mongodb-standin.sh
  step "images" hack/image.sh
  step "development cluster: three nodes" hack/devcluster/up
  step "images into its nodes" hack/devcluster/images-load "$IMAGES_DIR"/{raftery-node,raftery-operator,mongodb-standin}.tar
  run=(hack/devcluster/run) enter="hack/devcluster/run "
fi

say
status=0
"${run[@]}" "$CARGO_TARGET_DIR/$(host_triple)/release/demo" 2>&1 | tee "$LOG_DIR/demo.log" || status=${PIPESTATUS[0]}
say
if ((status != 0)); then
  say "The demo FAILED (exit status $status). Its output: $LOG_DIR/demo.log"
  say "The cluster is still up, to look at; run the demo again with: make demo"
else
  say "Done after $(((SECONDS - STEPS_BEGAN) / 60)) min $(((SECONDS - STEPS_BEGAN) % 60)) s. The cluster stays up."
fi
say "Go on:"
say "  ${enter}kubectl get raftclusters,pods"
say "  ${enter}kubectl describe raftcluster demo"
say "  ${enter}kubectl scale raftcluster demo --replicas=5"
say "Remove everything: make demo-down"
exit $status
