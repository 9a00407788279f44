#!/bin/bash
# The simulator: SEED=n repeats one run and tells it event by event (EVENTS=n if it wasn't of the
# usual length); otherwise new seeds for FOR seconds, on every core.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
own_target
cargo build --release --locked --quiet --workspace --bin sim
arguments=()
if [ -n "${SEED:-}" ]; then arguments+=(--seed "$SEED"); else arguments+=(--seconds "${FOR:-180}"); fi
if [ -n "${EVENTS:-}" ]; then arguments+=(--events "$EVENTS"); fi
exec "$CARGO_TARGET_DIR/$(host_triple)/release/sim" "${arguments[@]}"
