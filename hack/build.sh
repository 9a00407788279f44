#!/bin/bash
# Builds node, operator, client command and the tests' file system with the one profile that tests
# and images share, and copies them to this checkout's place in the cache (the target directory may
# be shared by checkouts).
# Prints that directory.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
own_target
# The whole workspace, as everywhere: another selection of packages selects other features of
# dependencies, and builds them and all of ours a second time.
cargo build --release --locked --workspace --bins
mkdir -p "$RAFTERY_BIN_DIR"
for name in raftery-node raftery-operator raftery slowfs; do
  # replaced by rename: a running process keeps the file that it was started from
  cp --reflink=auto "$CARGO_TARGET_DIR/$(host_triple)/release/$name" "$RAFTERY_BIN_DIR/$name.new"
  mv "$RAFTERY_BIN_DIR/$name.new" "$RAFTERY_BIN_DIR/$name"
done
say "$RAFTERY_BIN_DIR"
