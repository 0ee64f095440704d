# Every test level is a target; `make` lists them. A level prints counts and the reasons of its skips.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
PYTHON := /usr/bin/python3
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider -rsfE
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Tests on the ground wait more than they work: two of its labs for each processor, eight at most.
LABS ?= $(shell n=$$(nproc); echo $$((n < 4 ? 2 * n : 8)))

# --- everything ----------------------------------------------------------------------------------------
LEVELS := unit sim api lab vm cluster-core

.PHONY: test unit sim api vm bench demo
test: ## All levels, with counts and skips
	@$(PYTHON) tests/levels.py $(LEVELS)

unit: ## Pure code: no kernel, no network, no privileges
	cargo test --locked --lib --bins --test crds --test cli --test properties --test election --test walls

sim: ## Whole nodes on simulated kernels, and the kernel contract on the simulator
	cargo test --locked --test sim
	cargo test --locked --test contract on_simulator

api: build ## CRDs, validation, rights and status on a real API server
	tests/ground/install api helm
	$(PYTEST) tests/api -n $(LABS) --dist loadfile

vm: build ## The core of the lab's scenarios on a stock Debian kernel under qemu
	tests/ground/install lab api vm
	DIRECTWAY_GROUND=vm $(PYTEST) tests/lab -m '$(if $(ALL)$(SCENARIO),core or vm,core)' $(if $(SCENARIO),-v -k '$(SCENARIO)')

.PHONY: mutants-seeded
mutants-seeded: ## Break the safety rules one by one; a test must notice each. MUTANT='a VIP' for some
	$(PYTHON) tests/mutants $(if $(MUTANT),'$(MUTANT)')

bench: ## Measure; writes docs/benchmarks.md
	tests/ground/install lab api
	cargo build --locked --profile bench --bench kernel
	PYTHONPATH=tests $(PYTHON) benches/run.py

.PHONY: bench-failover
bench-failover: ## A director loses power, 50 times, and keepalived beside it; ROUNDS=5 for a look
	tests/ground/install lab bench
	cargo build --locked
	PYTHONPATH=tests $(PYTHON) benches/failover.py $(ROUNDS)

.PHONY: bench-takeover
bench-takeover: ## A director with 1,000 VIPs loses power; VIPS=100 for a look
	tests/ground/install lab
	cargo build --locked
	PYTHONPATH=tests $(PYTHON) benches/takeover.py $(VIPS)

.PHONY: bench-many
bench-many: ## What passes and changes cost with 1,000 to 10,000 VIPs; VIPS=1000 for a look
	tests/ground/install lab
	PYTHONPATH=tests $(PYTHON) benches/many_vips.py $(VIPS)

.PHONY: bench-health
bench-health: ## What 2,000 health checks cost
	tests/ground/install lab
	PYTHONPATH=tests $(PYTHON) benches/health.py $(SECONDS)

.PHONY: bench-requests
bench-requests: ## What a director at rest asks of the API server, with 1,000 VirtualServices
	tests/ground/install lab api
	cargo build --locked
	PYTHONPATH=tests $(PYTHON) benches/api_requests.py $(SERVICES)

demo: ## Directors, real servers, one manifest, and proof; SOURCE=directory: no API server; CLUSTER=1: kubelets, Helm
	$(if $(CLUSTER),$(if $(SOURCE),@echo 'a cluster has no SOURCE: use CLUSTER=1 or SOURCE=$(SOURCE)'; exit 1))
	tests/ground/install lab $(if $(CLUSTER),api helm cluster,$(if $(filter directory,$(SOURCE)),,api))
	$(if $(CLUSTER),$(MAKE_IMAGE),cargo build --locked)
	$(PYTHON) tests/demo $(if $(CLUSTER),cluster,$(or $(SOURCE),kubernetes))

.PHONY: build
build: ## The program and the suite of the kernel contract, as the levels run them
	$(PYTHON) tests/build.py

# --- the ground: what the levels run on --------------------------------------------------------------
.PHONY: ground
ground: ## Install what the test ground needs (Debian packages, API server, …)
	tests/ground/install

# --- lab: real IPVS, one kernel per node, real API server ---------------------------------------------
# SCENARIO is a part of a test's name, as for pytest -k.
.PHONY: lab lab-shell
lab: build ## Scenarios on real kernels; one alone: make lab SCENARIO=name
	tests/ground/install lab api
	$(PYTEST) tests/lab $(if $(SCENARIO),-v -k '$(SCENARIO)',-n $(LABS) --dist loadfile)

lab-shell: build ## A shell in a running lab: a director, three real servers, API server
	tests/ground/install lab api
	PYTHONPATH=tests $(PYTHON) -m ground.shell

# --- cluster: the lab's kernels with containerd and real kubelets, directway installed with Helm -----------
# DIRECTWAY_IMAGE is an OCI archive to use instead of one made of this checkout.
IMAGE := $(or $(CARGO_TARGET_DIR),target)/directway.oci.tar
# What a run of the whole level leaves for docs/benchmarks.md.
SUMMARY := $(or $(CARGO_TARGET_DIR),target)/cluster-test.xml
MAKE_IMAGE = $(if $(DIRECTWAY_IMAGE),,.ci/image $(IMAGE))
.PHONY: cluster cluster-parts cluster-shell cluster-core cluster-test soak image-archive
cluster-parts: image-archive
	tests/ground/install lab api helm cluster

cluster: cluster-parts ## A cluster of four nodes, until Ctrl-C
	PYTHONPATH=tests $(PYTHON) -m ground.shell cluster stay

cluster-shell: cluster-parts ## A shell in a cluster of four nodes
	PYTHONPATH=tests $(PYTHON) -m ground.shell cluster

cluster-core: cluster-parts ## Installed with Helm on real kubelets: install, traffic, upgrade, uninstall
	$(PYTEST) tests/cluster -m core

cluster-test: cluster-parts ## The same and all else: nodes, outages, endpoints, kube-proxy, pods of an application
	$(PYTEST) tests/cluster $(if $(SCENARIO),-v -k '$(SCENARIO)',--junitxml=$(SUMMARY))

soak: cluster-parts ## The long versions of some of it: 10 minutes without an API server, 1,000 random faults, 40,000 random stories of the election, 100,000 requests during rolling updates
	PROPTEST_CASES=20000 cargo test --locked --test election random
	DIRECTWAY_OUTAGE=600 DIRECTWAY_ROUNDS=50 DIRECTWAY_FAULTS=1000 $(PYTEST) tests/lab -m soak -v -rP
	DIRECTWAY_OUTAGE=600 DIRECTWAY_REQUESTS=100000 $(PYTEST) tests/cluster -m soak -v -rP

image-archive: ## The container image as an OCI archive; needs no Docker
	$(MAKE_IMAGE)

# --- packaging ----------------------------------------------------------------------------------------
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

.PHONY: chart static image kind
chart: build ## The Helm chart: values, rights, installed on the real API server
	tests/ground/install api helm
	$(PYTEST) tests/api/test_chart*.py

static: ## The static release binary that the image holds (several minutes)
	@ls -l "$$(.ci/static)"

image: ## The container image directway:VERSION; needs Docker
	@docker info >/dev/null 2>&1 || { echo 'no Docker engine answers: start one, or build the binary alone: make static'; exit 1; }
	docker build --tag directway:$(VERSION) --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION="$$(git rev-parse HEAD || echo unknown)" \
	  --build-arg SOURCE="$$(git config --get remote.origin.url || echo unknown)" .

kind: ## The chart on a kind cluster; needs Docker, says so where there is none
	@tests/e2e/kind.sh || { [ $$? = 3 ] && exit 0; exit 1; }
