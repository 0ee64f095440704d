# Every test level is a target; `make` lists them. A level prints counts and the reasons of its skips.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
PYTHON := /usr/bin/python3
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider -rs
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- the ground: what the levels run on --------------------------------------------------------------
.PHONY: ground
ground: ## Install what the test ground needs (Debian packages, API server, …)
	tests/ground/install

# --- lab: real IPVS, one kernel per node, real API server ---------------------------------------------
# SCENARIO is a part of a test's name, as for pytest -k.
.PHONY: lab lab-shell
lab: ## Scenarios on real kernels; one alone: make lab SCENARIO=name
	tests/ground/install lab api
	$(PYTEST) tests/lab $(if $(SCENARIO),-v -k '$(SCENARIO)')

lab-shell: ## A shell in a running lab: a director, three real servers, API server
	tests/ground/install lab api
	PYTHONPATH=tests $(PYTHON) -m ground.shell

# --- packaging ----------------------------------------------------------------------------------------
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

.PHONY: chart static image kind
chart: ## The Helm chart: values, rights, installed on the real API server
	tests/ground/install api helm
	$(PYTEST) tests/api/test_chart*.py

static: ## The static release binary that the image holds (several minutes)
	@ls -l "$$(.ci/static)"

image: ## The container image directway:VERSION; needs Docker
	@docker info >/dev/null 2>&1 || { echo 'no Docker engine answers: start one, or build the binary alone: make static'; exit 1; }
	docker build --tag directway:$(VERSION) --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION="$$(git rev-parse HEAD)" --build-arg SOURCE="$$(git config --get remote.origin.url)" .

kind: ## The chart on a kind cluster; needs Docker, says so where there is none
	@tests/e2e/kind.sh || { [ $$? = 3 ] && exit 0; exit 1; }
