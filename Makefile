# Everything is built below RAFTERY_CACHE (default ~/.cache/raftery), nothing in the checkout.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test sim mutants soak bench faults verify fix crds image devcluster-up devcluster-down

help: ## what there is
	@echo "Raftery: an etcd-compatible Raft cluster for Kubernetes that judges its own members."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Start with 'make demo' (as root, on Linux: it starts a real Kubernetes in namespaces of its"
	@echo "own). It says what this machine lacks and how to mend it. After it, 'hack/devcluster/run CMD'"
	@echo "runs kubectl, helm, etcdctl or a shell where the cluster can be reached."
	@echo "RAFTERY_USE_KUBECONFIG=1 uses the cluster of KUBECONFIG instead."

demo: ## a real Kubernetes, a RaftCluster, a lost member replaced, the ledger in MongoDB
	@hack/demo.sh

demo-down: devcluster-down ## remove what demo left up

test: ## every test, from units to a real Kubernetes; ends with the count
	@hack/test.sh

sim: ## simulated clusters under faults: new seeds for FOR=180 seconds, or SEED=n once more and told
	@SEED=$(SEED) EVENTS=$(EVENTS) FOR=$(FOR) hack/sim.sh

mutants: ## deliberate defects: which property of the simulator finds each, after how many seeds
	@hack/mutants.sh

soak: ## the long forms of tests, and an hour of new seeds (FOR=seconds)
	@hack/soak.sh

bench: ## Raftery beside etcd on this machine, an hour; writes docs/benchmarks.md
	@hack/bench.sh

faults: ## the same faults on Raftery and etcd, hours; CASE=leader-killed, TIMES=100; writes docs/faults.md
	@hack/bench.sh faults --write-docs docs $(if $(CASE),--case $(CASE)) $(if $(TIMES),--times $(TIMES))

verify: ## formatting, lints, generated files, licences, chart; changes nothing
	@hack/verify.sh

fix: crds ## rewrite what verify complains about and a program can mend
	@. hack/lib.sh && cargo fmt --all && gofmt -w hack/tools hack/devcluster

crds: ## print the CRD from the Rust types into crds/ and the chart
	@hack/crds.sh

image: ## both images as docker archives, without Docker or a registry; prints where
	@hack/preflight.sh && hack/build.sh && hack/image.sh product

devcluster-up: ## start the development cluster; prints the path of its kubeconfig
	@hack/devcluster/up

devcluster-down: ## remove it, with every process, namespace, mount and file
	@hack/devcluster/down
