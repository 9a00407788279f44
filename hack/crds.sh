#!/bin/bash
# crds.sh [--check]: writes the CRD, printed from the Rust types, to crds/ and to the chart; or
# checks that both hold what would be written.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
own_target
files=(crds/raftclusters.raftery.dev.yaml charts/raftery/crds/raftclusters.raftery.dev.yaml)
cargo build --quiet --release --locked --workspace --bins
crdgen=("$CARGO_TARGET_DIR/$(host_triple)/release/crdgen")
if [ "${1:-}" = --check ]; then
  "${crdgen[@]}" --check "${files[@]}"
else
  yaml=$("${crdgen[@]}")
  for f in "${files[@]}"; do
    mkdir -p "$(dirname "$f")"
    printf '%s\n' "$yaml" > "$f"
  done
fi
