# Precis: from pairs to an answered request. `make help` lists what there is.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
SHELL := /bin/bash

RECIPE ?= recipes/embedded.yaml
RUN := artifacts/$(basename $(notdir $(RECIPE)))
BUNDLE ?= $(RUN)/bundle
PORT ?= 3000
DEVICE ?= cpu
IMAGE ?= precis:latest
PYTHON := .venv/bin/python
# The gpu lock where an NVIDIA driver answers; the two ONNX Runtimes cannot stand side by side.
FLAVOUR := $(if $(shell nvidia-smi -L 2>/dev/null),gpu,cpu)
export BENTOML_DO_NOT_TRACK := True
export ORT_DISABLE_TELEMETRY := 1

.PHONY: help env run model serve test test-all lint bench image image-test lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: model ## Everything: environment, fine-tuning, export, parity, then the service and the page at /ui (PORT, RECIPE)
	$(MAKE) serve

env: .venv/installed-$(FLAVOUR) ## The environment in .venv

.venv/installed-%: requirements/%.txt tools/env.sh
	tools/env.sh $*

model: $(RUN)/bundle/manifest.json ## Fine-tuned model and proved bundle in artifacts/ (RECIPE), where missing or out of date

$(RUN)/run.json: $(RECIPE) $(wildcard finetune/*.py data/gazette/* models/base/*) | env
	$(PYTHON) -m finetune $(RECIPE) output=$(RUN)

$(RUN)/bundle/manifest.json: $(RUN)/run.json $(wildcard export/*.py) | env
	$(PYTHON) -m export $(RUN)

serve: | env ## The service in the foreground (PORT, BUNDLE, DEVICE=cuda)
	PRECIS_BUNDLE=$(abspath $(BUNDLE)) PRECIS_DEVICE=$(DEVICE) .venv/bin/bentoml serve bento.service:Summarizer --port $(PORT)

test: model ## The suite, without what is marked slow
	$(PYTHON) -m pytest -m "not slow"

test-all: model ## The whole suite
	$(PYTHON) -m pytest

lint: | env ## ruff, rules and format
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

bench: | env ## Summaries a second: our engine beside PyTorch, Optimum and CTranslate2
	$(PYTHON) -m benchmarks.engine

image: model ## Container image IMAGE, precis:latest, of RECIPE's model for DEVICE (needs a container engine)
	$(PYTHON) -m tools.image $(RUN) --device $(DEVICE) --tag $(IMAGE)

image-test: | env ## The API's tests against a container of IMAGE, and the container's own, on PORT (needs a container engine)
	tools/image_test.sh $(IMAGE) $(PORT)

lock: | env ## Resolve the newest versions pyproject.toml allows into requirements/
	tools/lock.sh

clean: ## Remove the environment and everything made
	rm -rf .venv artifacts .pytest_cache .ruff_cache
