#!/bin/bash
# Builds Raft and its log with deliberate defects, in a target directory of its own, and lets the
# simulator look for each of them; prints which property found it, after how many seeds. DEFECT=name
# looks for that one only.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
# another checkout that shares the cache must not take these for its own
export CARGO_TARGET_DIR=$CHECKOUT_CACHE/defects
RUSTFLAGS="--cfg raftery_defects" cargo test --release --locked -p raftery-sim --test mutants -- --nocapture
