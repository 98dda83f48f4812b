# Precis: from pairs to an answered request. `make help` lists what there is.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
SHELL := /bin/bash

RECIPE ?= recipes/embedded.yaml
RUN := artifacts/$(basename $(notdir $(RECIPE)))
PORT ?= 3000
DEVICE ?= cpu
# 8 bits on a CPU and half precision on a GPU, where that bundle passed its gate (as precis/bundle/choose.py chooses).
BUNDLE ?= $(or $(patsubst %/,%,$(dir $(wildcard $(RUN)/bundle-$(if $(filter cpu,$(DEVICE)),int8,fp16)/manifest.json))),$(RUN)/bundle)
IMAGE ?= precis:latest
PYTHON := .venv/bin/python
# The gpu lock where an NVIDIA driver answers; the two ONNX Runtimes cannot stand side by side.
FLAVOUR := $(if $(shell nvidia-smi -L 2>/dev/null),gpu,cpu)
export BENTOML_DO_NOT_TRACK := True
export ORT_DISABLE_TELEMETRY := 1

.PHONY: help env run model serve test test-unit test-embedded test-all lint bench gpu-check \
	image image-test image-archive image-load push adopt sbom audit lock upgrade clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: model ## Everything: environment, fine-tuning, export, parity, then the service and the page at /ui (PORT, RECIPE)
	$(MAKE) serve

env: .venv/installed-$(FLAVOUR) ## The environment in .venv

.venv/installed-%: requirements/%.txt tools/env.sh
	tools/env.sh $*

model: $(RUN)/exported ## Fine-tuned model and proved bundle in artifacts/ (RECIPE), where missing or out of date

$(RUN)/run.json: $(RECIPE) $(wildcard finetune/*.py data/gazette/* models/base/*) | env
	$(PYTHON) -m finetune $(RECIPE) output=$(RUN)

# Where int8 fails its gate fp32 is served, and not the int8 of a model before this one.
$(RUN)/exported: $(RUN)/run.json $(wildcard export/*.py) | env
	$(PYTHON) -m export $(RUN) --precision fp32 int8 --base || \
	  { test $(RUN)/bundle/manifest.json -nt $(RUN)/run.json && rm -rf $(RUN)/bundle-int8; }
	touch $@

serve: | env ## The service in the foreground (PORT, BUNDLE, DEVICE=cuda)
	PRECIS_BUNDLE=$(abspath $(BUNDLE)) PRECIS_DEVICE=$(DEVICE) $(PYTHON) -m bento --port $(PORT)

test: model ## The suite, without what is marked slow
	$(PYTHON) -m pytest -m "not slow"

test-unit: | env ## The part of it that needs no model: unit and property tests
	$(PYTHON) -m pytest -m "not slow and not embedded"

test-embedded: model ## The rest of it: what needs the model
	$(PYTHON) -m pytest -m "not slow and embedded"

test-all: model ## The whole suite
	$(PYTHON) -m pytest

lint: | env ## Rules and form of the code, the Dockerfile, the workflows and the manifests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/hadolint Dockerfile
	.venv/bin/yamllint --strict .
	.venv/bin/zizmor --offline --quiet --persona pedantic .github
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
	.venv/bin/kubernetes-validate --strict --quiet $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/base/*.yaml))

bench: | env ## Summaries a second: our engine beside PyTorch, Optimum and CTranslate2
	$(PYTHON) -m benchmarks.engine

gpu-check: ## A card measured, with PYTHON's own torch: fine-tuning, parity, engine, service (docs/gpu.md)
	$(PYTHON) -m benchmarks.gpu

image: model ## Container image IMAGE, precis:latest, of RECIPE's model for DEVICE (needs a container engine)
	$(PYTHON) -m tools.image $(RUN) --device $(DEVICE) --tag $(IMAGE)

image-test: | env ## The API's tests against a container of IMAGE, and the container's own, on PORT (needs a container engine)
	tools/image_test.sh $(IMAGE) $(PORT)

image-archive: ## IMAGE as artifacts/image.tar.gz
	docker save $(IMAGE) | gzip > artifacts/image.tar.gz

image-load: ## The image in artifacts/image.tar.gz
	docker load --input artifacts/image.tar.gz

push: ## precis:latest as IMAGE to its registry (REGISTRY_USER and REGISTRY_TOKEN log in)
	tools/push.sh $(IMAGE)

adopt: ## Takes the model in artifacts/ for up to date, whatever its files' times say
	touch $(RUN)/run.json
	touch $(wildcard $(RUN)/bundle*/manifest.json)

sbom: | env ## What an image for DEVICE holds: artifacts/sbom.json (CycloneDX) and artifacts/licences.md
	tools/sbom.sh $(DEVICE)

audit: | env ## Known vulnerabilities of the packages that serve (needs a network)
	.venv/bin/uv tool run pip-audit==2.10.1 --disable-pip --require-hashes --requirement requirements/serve-$(DEVICE).txt

lock: | env ## pyproject.toml's extras resolved into requirements/, with no more changes than needed
	tools/lock.sh

upgrade: ## The same from scratch, then the environment and the model made anew
	rm -f requirements/*.txt && tools/lock.sh && rm -rf artifacts
	$(MAKE) model

clean: ## Remove the environment and everything made
	rm -rf .venv artifacts .pytest_cache .ruff_cache
