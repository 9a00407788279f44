#!/bin/bash
# Installs the pinned MongoDB stand-in into the cache and prints its path.
# It is a beta under the GPL: tests and demo run it as a program of its own,
# nothing links it and nothing of it is shipped.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

if [ ! -x "$RAFTERY_SECANTUS" ]; then
  # Outside the checkout: its .cargo/config.toml (static target) isn't for this program,
  # nor is its target directory, so that no lock is shared with our builds.
  cd /
  say "installing secantus-mdb $SECANTUS_VERSION: about 8 minutes on two cores, once" >&2
  rm -rf "$SECANTUS_HOME.new"
  CARGO_TARGET_DIR=$SECANTUS_HOME.new/target CARGO_PROFILE_RELEASE_STRIP=symbols \
    cargo install secantus-mdb --version "$SECANTUS_VERSION" --ignore-rust-version --locked \
    --root "$SECANTUS_HOME.new" >&2
  rm -rf "$SECANTUS_HOME.new/target" "$SECANTUS_HOME"
  mv "$SECANTUS_HOME.new" "$SECANTUS_HOME"
fi
say "$RAFTERY_SECANTUS"
