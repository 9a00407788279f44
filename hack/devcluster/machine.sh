#!/bin/bash
# Process 1 of one machine: the control plane (cp) or a node (n1, n2, n3). Started by
# `node start` in namespaces of its own; everything it mounts and starts ends with it.
# Environment: DC_ID STATE TOOLS IN_STATE IN_TOOLS HIERARCHIES CP_IP PODS SERVICES NODE_IP
set -eu
name=$1
dir=$IN_STATE/$name

hostname "$name"
# Into our cgroups first, so that freezing or killing them reaches whatever is started.
for h in $HIERARCHIES; do echo 0 > "$h/$DC_ID/$name/sys/cgroup.procs"; done

# A private /run (sockets, CNI's namespaces, locks) that also gives the state directory and
# the programs fixed, short paths. Built aside and moved, since either may lie in /run or /tmp.
run=$STATE/$name/run
mkdir -p "$run"
mount -t tmpfs -o mode=755 tmpfs "$run"
mkdir -p "$run/devcluster/state" "$run/devcluster/tools"
mount --bind "$STATE" "$run/devcluster/state"
mount --bind "$TOOLS" "$run/devcluster/tools"
mount --no-mtab --move "$run" /run
cd /run
export PATH=$IN_TOOLS:$PATH

# The paths that Kubernetes writes to are fixed; here each is private.
for d in /tmp /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $d; done
chmod 1777 /tmp
mkdir -p /tmp/hostpath_pv
mount --bind "$IN_STATE/pv" /tmp/hostpath_pv
for d in lib/containerd lib/kubelet lib/cni log/pods log/containers; do
  mkdir -p "$dir/var/$d" "/var/$d"
  mount --bind "$dir/var/$d" "/var/$d"
done

# Runs a program for as long as the machine lives, with a second between two attempts.
supervise() { # name command...
  local service=$1
  shift
  while :; do
    "$@" >> "$dir/log/$service.log" 2>&1 &
    echo $! > "$dir/$service.pid"
    wait $! || true
    sleep 1
  done &
}

# The provisioner of the controller manager makes volumes that only root can write
# (and fsGroup does not reach host paths). Pods here run as other users.
open_volumes() {
  local -A seen=()
  local v pause
  exec {pause}<> <(:)
  while :; do
    for v in /tmp/hostpath_pv/*/; do
      if [ -d "$v" ] && [ -z "${seen[$v]:-}" ]; then
        chmod 0777 "$v" && seen[$v]=1
      fi
    done
    read -rt 0.2 -u "$pause" _ || true # sleeps without a process
  done
}

control_plane() {
  local pki=$IN_STATE/pki users=$IN_STATE/users component
  supervise etcd etcd --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380
  # Ten seconds until pods leave a lost node (Kubernetes: five minutes): tests wait for it.
  supervise apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --advertise-address="$CP_IP" --secure-port=6443 \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --service-cluster-ip-range="$SERVICES" --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --token-auth-file="$pki/tokens.csv" --authorization-mode=Node,RBAC --allow-privileged=true \
    --kubelet-preferred-address-types=InternalIP \
    --default-not-ready-toleration-seconds=10 --default-unreachable-toleration-seconds=10
  # The others end at once when their roles don't exist yet.
  until KUBECONFIG=$users/admin kubectl get --raw /readyz > /dev/null 2>&1; do sleep 0.1; done
  supervise controller-manager kube-controller-manager \
    --{kubeconfig,authentication-kubeconfig,authorization-kubeconfig}="$users/controller-manager" \
    --use-service-account-credentials --service-account-private-key-file="$pki/sa.key" \
    --root-ca-file="$pki/ca.crt" --leader-elect=false --enable-hostpath-provisioner \
    --cluster-cidr="$PODS" --kube-api-qps=100 --kube-api-burst=200 \
    --node-monitor-period=1s --node-monitor-grace-period=8s --node-eviction-rate=10
  supervise scheduler kube-scheduler --leader-elect=false --kube-api-qps=100 --kube-api-burst=200 \
    --{kubeconfig,authentication-kubeconfig,authorization-kubeconfig}="$users/scheduler"
  # ClusterIPs for the API server's webhooks and for everything run in this namespace.
  # kube-proxy waits for its own Node, which cp isn't, so it borrows the first node's name.
  supervise kube-proxy kube-proxy --config="$dir/config/kube-proxy.yaml" --hostname-override=n1
  supervise coredns coredns -conf "$dir/config/Corefile"
  open_volumes &
}

node() {
  supervise containerd containerd -c "$dir/config/containerd.toml"
  supervise kubelet kubelet --config="$dir/config/kubelet.yaml" \
    --kubeconfig="$IN_STATE/users/$name" --hostname-override="$name" --node-ip="$NODE_IP"
  supervise kube-proxy kube-proxy --config="$dir/config/kube-proxy.yaml" --hostname-override="$name"
}

if [ "$name" = cp ]; then
  control_plane
else
  # kubelet insists on these kernel settings, which are the whole host's. It finds them as
  # it wants them and the host keeps its own.
  while read -r setting value; do
    echo "$value" > "/run/sysctl.${setting//\//.}"
    mount --bind "/run/sysctl.${setting//\//.}" "/proc/sys/$setting"
  done << 'SETTINGS'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS
  node
fi
wait
