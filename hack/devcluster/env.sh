# Sourced by every script of the development cluster: names, addresses, helpers.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# Several clusters may run at once: one for each checkout and name. All addresses
# lie inside the cluster's own network namespaces, so only these two differ.
DC_ID=rf$(printf %s "$ROOT:${RAFTERY_DEVCLUSTER_NAME:-}" | sha256sum | cut -c1-6)
STATE=${RAFTERY_DEVCLUSTER_STATE:-$RAFTERY_CACHE/devcluster/$DC_ID}

NODES="n1 n2 n3"
MACHINES="cp $NODES"
CP_IP=10.77.0.10           # bridge, control plane, DNS
NODE_NET=10.77.0           # node i: 10.77.0.(10+i)
POD_NET=10.78              # pods of node i: 10.78.i.0/24
PODS=10.78.0.0/16
SERVICES=10.79.0.0/16
API_SERVICE_IP=10.79.0.1

# Where machines see the state directory and the programs, whatever their paths are outside.
IN_STATE=/run/devcluster/state
IN_TOOLS=/run/devcluster/tools

# Mount points of all cgroup hierarchies: one with v2, one for each controller with v1.
if [ "$(stat -fc %T /sys/fs/cgroup 2> /dev/null)" = cgroup2fs ]; then
  CGROUP_VERSION=2
  HIERARCHIES=/sys/fs/cgroup
else
  CGROUP_VERSION=1
  HIERARCHIES=
  for h in /sys/fs/cgroup/*; do
    # links such as cpu -> cpu,cpuacct would name a hierarchy twice
    if [ ! -L "$h" ] && [ -e "$h/cgroup.procs" ]; then HIERARCHIES+=" $h"; fi
  done
fi
# The hierarchy in which every process of the cluster can be found.
if [ $CGROUP_VERSION = 2 ]; then PROCESS_TREE=/sys/fs/cgroup; else PROCESS_TREE=/sys/fs/cgroup/pids; fi

node_ip() { echo "$NODE_NET.$((10 + ${1#n}))"; }

# in_net MACHINE COMMAND...: in its network namespace. Not `ip netns exec`: that mounts
# another /sys, without the cgroups.
in_net() { nsenter --net="$STATE/netns/$1" "${@:2}"; }

# started PID: when it started, in clock ticks since boot. With it a recorded pid that
# meanwhile belongs to somebody else is recognised. A dead one that nobody has reaped yet
# does not count.
started() {
  local stat
  stat=$(cat "/proc/$1/stat" 2> /dev/null) || return 1
  set -- ${stat##*) }
  [ "$1" != Z ] && [ "$1" != X ] && echo "${20}"
}

# machine_pid MACHINE: pid of the process that holds it, if it still runs.
machine_pid() {
  local pid since
  read -r pid since 2> /dev/null < "$STATE/$1/pid" || return 1
  [ "$(started "$pid")" = "$since" ] && echo "$pid"
}

# machine_init MACHINE: pid, seen from the host, of its process 1.
machine_init() {
  local pid
  pid=$(machine_pid "$1") || return 1
  pgrep -P "$pid" | head -n 1
}

# in_node NODE COMMAND...: in its mount namespace, where containerd's socket is.
in_node() {
  local init
  init=$(machine_init "$1") && [ -n "$init" ] || { say "machine $1 does not run" >&2; return 1; }
  nsenter --target "$init" --mount "${@:2}"
}

# set_frozen MACHINE 0|1: stops or continues every process of a machine at once.
set_frozen() {
  if [ $CGROUP_VERSION = 2 ]; then
    echo "$2" > "/sys/fs/cgroup/$DC_ID/$1/cgroup.freeze"
  elif [ "$2" = 1 ]; then
    echo FROZEN > "/sys/fs/cgroup/freezer/$DC_ID/$1/freezer.state"
  else
    echo THAWED > "/sys/fs/cgroup/freezer/$DC_ID/$1/freezer.state"
  fi
}

# cluster_processes [MACHINE]: pids of all processes in our cgroups.
cluster_processes() {
  find "$PROCESS_TREE/$DC_ID${1:+/$1}" -name cgroup.procs -exec cat {} + 2> /dev/null || true
}

# remove_cgroups [MACHINE]: all of them, empty as they must be by now.
remove_cgroups() {
  local h
  for h in $HIERARCHIES; do
    [ -d "$h/$DC_ID${1:+/$1}" ] || continue
    # a cgroup may stay busy for a moment, until its last task is reaped
    for _ in $(seq 50); do
      find "$h/$DC_ID${1:+/$1}" -depth -type d -exec rmdir {} + 2> /dev/null && break
      sleep 0.05
    done
  done
}

# kill_machine MACHINE: a power cut. Returns when its last process is gone. Cgroups go too, as
# they would: a kubelet that finds old ones spends 20 s on them when the machine starts again.
kill_machine() {
  end_processes "$1"
  remove_cgroups "$1"
}

end_processes() { # machine
  local pid
  # a frozen task does not die before it is thawed
  set_frozen "$1" 0 2> /dev/null || true
  if pid=$(machine_pid "$1"); then kill -KILL "$pid" 2> /dev/null || true; fi
  for _ in $(seq 100); do
    machine_pid "$1" > /dev/null || [ -n "$(cluster_processes "$1")" ] || return 0
    sleep 0.05
  done
  # The holder died without taking the rest along. What is in our cgroups is ours.
  for pid in $(cluster_processes "$1"); do kill -KILL "$pid" 2> /dev/null || true; done
  for _ in $(seq 100); do
    [ -z "$(cluster_processes "$1")" ] && return 0
    sleep 0.05
  done
  die "processes of machine $1 do not end: $(cluster_processes "$1" | tr '\n' ' ')"
}

# One up or down at a time. The lock is on the directory itself, so no file is left.
lock() {
  exec 9< "$RAFTERY_DEVCLUSTER"
  flock -w "${1:-300}" 9 || die "another devcluster command of this checkout is running"
}
