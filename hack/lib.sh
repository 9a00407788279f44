# Sourced by every script in hack/: where things are, how steps are shown.
# Nothing here writes inside the checkout; everything built lives in the cache.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export RAFTERY_CACHE=${RAFTERY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/raftery}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$RAFTERY_CACHE/target}

# Test programs from Go modules: one directory for each state of their pins.
TOOLS_HASH=$(cd "$ROOT/hack/tools" && cat go.mod go.sum main.go build.sh | sha256sum | cut -c1-16)
export RAFTERY_TOOLS=$RAFTERY_CACHE/tools/$TOOLS_HASH/bin

# The MongoDB stand-in of tests and demo. See hack/devcluster/README.md.
SECANTUS_VERSION=0.5.3-beta.193
SECANTUS_HOME=$RAFTERY_CACHE/secantus-$SECANTUS_VERSION
export RAFTERY_SECANTUS=$SECANTUS_HOME/bin/secantusd-rs

# Two checkouts share the cache, so what is built from this one has its own place.
CHECKOUT_ID=$(printf %s "$ROOT" | sha256sum | cut -c1-6)
CHECKOUT_CACHE=$RAFTERY_CACHE/checkouts/$CHECKOUT_ID
export RAFTERY_BIN_DIR=$CHECKOUT_CACHE/bin
IMAGES_DIR=$CHECKOUT_CACHE/images
LOG_DIR=${LOG_DIR:-$CHECKOUT_CACHE/log}

export RAFTERY_DEVCLUSTER=$ROOT/hack/devcluster
export PATH=$RAFTERY_TOOLS:$PATH

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Cargo knows a workspace's crates by their place in it: two checkouts that share the target
# directory would take each other's for their own. When they change places, what Cargo remembers of
# our crates goes, and they are built anew (`cargo clean --workspace` leaves integration tests).
own_target() {
  local mark=$CARGO_TARGET_DIR/checkout
  if [ "$(cat "$mark" 2> /dev/null)" = "$ROOT" ]; then return; fi
  mkdir -p "$CARGO_TARGET_DIR"
  rm -rf "$CARGO_TARGET_DIR"/release/.fingerprint/raftery-* "$CARGO_TARGET_DIR"/*/release/.fingerprint/raftery-*
  printf '%s\n' "$ROOT" > "$mark"
}

STEP_NUMBER=0
STEP_PID=
STEPS_BEGAN=$SECONDS

# step NAME COMMAND...: runs COMMAND with its output in a log, shows a line every
# ten seconds while it runs and, when it fails, the end of the log. Returns its status.
step() {
  local name=$1 log status=0 began=$SECONDS shown=$SECONDS pid last
  shift
  STEP_NUMBER=$((STEP_NUMBER + 1))
  mkdir -p "$LOG_DIR"
  log=$LOG_DIR/$(printf %02d $STEP_NUMBER)-${name//[^a-zA-Z0-9]/-}.log
  STEP_LOG=$log
  printf '[%4ds] %s\n' $((SECONDS - STEPS_BEGAN)) "$name"
  # job control gives it a process group of its own, which stop_step can end as a whole
  set -m
  "$@" > "$log" 2>&1 < /dev/null &
  pid=$!
  set +m
  STEP_PID=$pid
  while kill -0 $pid 2> /dev/null; do
    sleep 0.2
    if ((SECONDS - shown >= 10)); then
      shown=$SECONDS
      # the latest line that is not part of a compiler's message
      last=$(tail -c 20000 "$log" | tr '\r' '\n' | grep -vE '^ *($|\||[0-9]+ +\||=|-->|\.\.\.|warning|help|note)' |
        tail -n 1 | cut -c1-90) || true
      printf '          ... %ds  %s\n' $((SECONDS - began)) "$last"
    fi
  done
  wait $pid || status=$?
  STEP_PID=
  if ((status != 0)); then
    printf '\nFAILED after %ds: %s (exit status %d). End of %s:\n\n' $((SECONDS - began)) "$name" $status "$log" >&2
    { grep -nE '^(error|FAILED|failures:|test .* FAILED)' "$log" | head -n 10 || true
      tail -n 40 "$log"; } | sed 's/^/    /' >&2
  elif ((SECONDS - began >= 10)); then
    printf '          done in %ds\n' $((SECONDS - began))
  fi
  return $status
}

# For the EXIT trap of scripts with steps: ends the step that still runs.
stop_step() {
  if [ -n "$STEP_PID" ]; then kill -TERM -- "-$STEP_PID" 2> /dev/null || true; fi
}

# start_log KIND: an empty directory for the logs of this run.
start_log() {
  LOG_DIR=$CHECKOUT_CACHE/log/$1
  rm -rf "$LOG_DIR"
  mkdir -p "$LOG_DIR"
}

host_triple() { rustc -vV | sed -n 's/^host: //p'; }
