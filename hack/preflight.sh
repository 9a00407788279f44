#!/bin/bash
# Checks in seconds whether this machine can build, test and run the demo. Installs missing
# Debian packages when root; lists everything else that is missing with the command that mends it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

missing=()
lacks() { # what how-to-mend-it
  missing+=("$1"$'\n'"      mend: $2")
}

at_least() { # wanted have: compares dotted versions
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# ---- Debian packages, known by what they bring
need=()
wants() { # package command-or-path
  command -v "$2" > /dev/null 2>&1 || [ -e "$2" ] || need+=("$1")
}
PATH=$PATH:/usr/sbin:/sbin
wants containerd containerd # containerd.io brings it too and is left alone
wants runc runc
wants containernetworking-plugins /usr/lib/cni/bridge
wants iptables iptables
wants iproute2 ip
wants conntrack conntrack
wants openssl openssl
wants buildah buildah
wants gcc gcc
wants libc6-dev /usr/include/stdlib.h
wants make make
wants binutils strip
wants cmake cmake           # the MongoDB stand-in's storage engine
wants g++ g++
wants protobuf-compiler protoc # the tests' etcd client; the product needs none
wants libprotobuf-dev /usr/include/google/protobuf/descriptor.proto # what its files import
wants procps pgrep
wants util-linux unshare
wants ca-certificates /etc/ssl/certs/ca-certificates.crt
if ((${#need[@]})); then
  install="apt-get install --no-install-recommends --no-remove ${need[*]}"
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    say "preflight: installing Debian packages: ${need[*]}"
    log=$(mktemp)
    if (apt-get update -q && DEBIAN_FRONTEND=noninteractive $install -y -q) > "$log" 2>&1; then
      rm -f "$log"
    else
      tail -n 15 "$log" >&2
      lacks "Debian packages: ${need[*]} (apt-get failed, log: $log)" "apt-get update && $install"
    fi
  else
    lacks "Debian packages: ${need[*]}" "sudo sh -c 'apt-get update && $install'"
  fi
fi

# ---- toolchains
rustup_hint="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
if ! command -v cargo > /dev/null; then
  lacks "Rust 1.95 or newer" "$rustup_hint"
else
  have=$(rustc --version | cut -d' ' -f2)
  at_least 1.95 "$have" || lacks "Rust 1.95 or newer (found $have)" "rustup update stable"
fi
if ! command -v go > /dev/null; then
  lacks "Go 1.26 or newer" "unpack https://go.dev/dl/go1.26.8.linux-amd64.tar.gz into /usr/local and add /usr/local/go/bin to PATH"
else
  have=$(go env GOVERSION | sed 's/^go//')
  at_least 1.26 "$have" || lacks "Go 1.26 or newer (found $have)" "unpack a newer one from https://go.dev/dl into /usr/local"
fi

# ---- disk, where everything is built
mkdir -p "$RAFTERY_CACHE"
free=$(df --output=avail -B1G "$RAFTERY_CACHE" | tail -n 1 | tr -d ' ')
# the warm cache is the disk already used
if ((free < 15)) && [ ! -e "$RAFTERY_TOOLS/.complete" ]; then
  lacks "15 GB of free disk below $RAFTERY_CACHE (found $free GB)" "free some, or set RAFTERY_CACHE to a larger disk"
elif ((free < 4)); then
  lacks "4 GB of free disk below $RAFTERY_CACHE (found $free GB)" "free some"
fi

# ---- what the development cluster asks of the kernel (not with a cluster of your own)
if [ "${RAFTERY_USE_KUBECONFIG:-}" != 1 ]; then
  if [ "$(id -u)" != 0 ]; then
    lacks "root: the development cluster makes namespaces and cgroups" "run it with: sudo -E env \"PATH=\$PATH\" make ..."
  elif ! unshare --net --mount --pid --uts --ipc --fork true 2> /dev/null; then
    lacks "namespaces (network, mount, pid, uts, ipc)" "run on a machine or VM, not in an unprivileged container"
  else
    modprobe -q overlay 2> /dev/null || true
    if [ ! -e /proc/sys/net/bridge ]; then
      # Loading the module would switch on filtering for the host's own bridges.
      if modprobe -q br_netfilter 2> /dev/null; then
        sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0
      fi
    fi
    [ -e /proc/sys/net/bridge ] || lacks "kernel feature br_netfilter" "modprobe br_netfilter"
    unshare --net ip link add probe type veth peer name probe2 2> /dev/null ||
      lacks "kernel feature veth" "modprobe veth"
    unshare --net ip link add probe type bridge 2> /dev/null ||
      lacks "kernel feature bridge" "modprobe bridge"
    unshare --net iptables -t nat -L > /dev/null 2>&1 ||
      lacks "iptables' table nat in a new network namespace" "modprobe iptable_nat nf_tables nft_chain_nat"
  fi
  if [ "$(stat -fc %T /sys/fs/cgroup 2> /dev/null)" = cgroup2fs ]; then
    for c in cpu memory pids; do
      grep -qw $c /sys/fs/cgroup/cgroup.controllers || lacks "cgroup controller $c" "boot without cgroup_disable=$c"
    done
    grep -qw 0 /sys/fs/cgroup/cgroup.procs 2> /dev/null &&
      lacks "the root of the cgroup tree (this is a container)" "run on a machine or VM"
    say "preflight: cgroup v2 found. The development cluster supports it, but is tested on v1 only." >&2
  else
    for c in cpu cpuset memory freezer pids devices; do
      ls -d /sys/fs/cgroup/*/ 2> /dev/null | tr ',/' '\n\n' | grep -qx $c ||
        lacks "cgroup controller $c" "mkdir -p /sys/fs/cgroup/$c && mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c"
    done
  fi
elif [ ! -r "${KUBECONFIG:-$HOME/.kube/config}" ]; then
  lacks "a readable kubeconfig, since RAFTERY_USE_KUBECONFIG=1" "export KUBECONFIG=PATH"
fi

if ((${#missing[@]})); then
  printf '\nThis machine lacks:\n' >&2
  printf '  - %s\n' "${missing[@]}" >&2
  exit 1
fi
