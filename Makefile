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
