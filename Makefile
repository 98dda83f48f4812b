# Precis: from (document, summary) pairs to a summarization service. `make help` lists the targets.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
SHELL := /bin/bash

RECIPE ?= recipes/embedded.yaml
RUN := artifacts/$(basename $(notdir $(RECIPE)))
PORT ?= 3000
DEVICE ?= cpu
# A bundle, or a run's folder: the service then takes the bundle that is fastest on DEVICE.
BUNDLE ?= $(RUN)
IMAGE ?= precis:latest
# Two environments, because what trains and exports holds packages at versions that what serves need not have.
PYTHON := .venv/bin/python
SERVE_PYTHON := .venv-serve/bin/python
# Two workers: each starts services of its own, so that more would need more memory than a small machine has.
PYTEST := -m pytest --numprocesses 2 --dist loadfile
# The cuda locks where an NVIDIA driver answers; the two builds of ONNX Runtime cannot be installed side by side.
FLAVOUR := $(if $(shell nvidia-smi -L 2>/dev/null),cuda,cpu)
export BENTOML_DO_NOT_TRACK := True
export ORT_DISABLE_TELEMETRY := 1

# A stamp's name holds a checksum of what the step reads, so that a step is repeated when the content of its inputs
# changed, whatever their times say (a fresh checkout, a downloaded artifact).
sources = $(sort $(shell find $(1) -type f -name '*.py' -o -name '*.jinja'))
checksum = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
FINETUNE_INPUTS := $(RECIPE) $(call sources,finetune) precis/params.py \
	$(addprefix precis/text/,__init__.py abbreviations.py blocks.py body.py body_patterns.py candidates.py sentence_features.py sentences.py token_spans.py) \
	$(wildcard data/gazette/* models/base/*)
EXPORT_INPUTS := $(FINETUNE_INPUTS) $(call sources,export precis)
FINETUNED := $(RUN)/finetuned-$(call checksum,$(FINETUNE_INPUTS))
EXPORTED := $(RUN)/exported-$(DEVICE)-$(call checksum,$(EXPORT_INPUTS))
# The precision for DEVICE beside fp32. Graphs for CUDA have static shapes, and graphs for the CPU do not run there.
LOSSY := $(if $(filter cuda,$(DEVICE)),fp16,int8)

.PHONY: help env run model serve test test-unit test-embedded test-all test-next lint bench gpu-check \
	image image-test image-archive image-load push sbom audit resolve lock upgrade clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: model ## Environment, fine-tuning, export, parity, then the service with its page at /ui (PORT, RECIPE, DEVICE=cuda)
	$(MAKE) serve

env: .venv/installed-$(FLAVOUR) .venv-serve/installed-$(FLAVOUR) ## The environments: .venv trains and exports, .venv-serve serves

.venv/installed-cpu: requirements/torch-cpu.txt
.venv/installed-%: requirements/train-%.txt tools/env.sh
	tools/env.sh $(@D) $(filter %.txt,$(^F)) && touch $@

.venv-serve/installed-%: requirements/serve-%.txt requirements/test.txt tools/env.sh
	tools/env.sh $(@D) $(filter %.txt,$(^F)) && touch $@

model: $(EXPORTED) ## Fine-tuned model and proved bundles in artifacts/ (RECIPE, DEVICE=cuda), where missing or out of date

$(FINETUNED): | env
	$(PYTHON) -m finetune $(RECIPE) output=$(RUN)
	rm -f $(RUN)/finetuned-* && touch $@

# Where int8 or fp16 fails its parity check fp32 is served, and not the bundle of an earlier model.
$(EXPORTED): | $(FINETUNED)
	$(PYTHON) -m export $(RUN) --device $(DEVICE) --precision fp32 $(LOSSY) $(if $(filter int8,$(LOSSY)),--base) || \
	  { test $(RUN)/bundle/manifest.json -nt $(RUN)/run.json && rm -rf $(RUN)/bundle-$(LOSSY); }
	rm -f $(RUN)/exported-* && touch $@

serve: | env ## The service in the foreground (PORT, BUNDLE, DEVICE=cuda)
	PRECIS_BUNDLE="$(BUNDLE)" PRECIS_DEVICE=$(DEVICE) $(SERVE_PYTHON) -m bento --port $(PORT)

# Tests with these marks, each in its environment.
define run_tests
	$(PYTHON) $(PYTEST) -m "training and $(1)"
	$(SERVE_PYTHON) $(PYTEST) -m "not training and $(1)"
endef

test: model ## All tests but those marked slow
	$(call run_tests,not slow)

test-unit: | env ## The tests that need no model: unit and property tests; trains nothing
	$(call run_tests,not slow and not embedded)

test-embedded: model ## The tests that need the embedded model
	$(call run_tests,not slow and embedded)

test-all: model ## All tests, slow ones included
	$(call run_tests,(slow or not slow))

test-next: .venv-next/installed | env ## The tests of fine-tuning and export with the newest transformers and PEFT
	.venv-next/bin/python $(PYTEST) -m "training and not slow and not embedded" tests/finetune tests/export

.venv-next/installed: requirements/next.txt requirements/torch-cpu.txt tools/env.sh
	tools/env.sh $(@D) $(filter %.txt,$(^F)) && touch $@

lint: | env ## Check code, types, spelling, Dockerfile, workflows and manifests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy --python-executable $(SERVE_PYTHON) --package bento
	.venv/bin/codespell
	.venv/bin/hadolint Dockerfile
	.venv/bin/yamllint --strict .
	.venv/bin/zizmor --offline --quiet --persona pedantic .github
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
	.venv/bin/kubernetes-validate --strict --quiet $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/base/*.yaml))

bench: | env ## Summaries per second: this engine, PyTorch, Optimum and CTranslate2
	$(PYTHON) -m benchmarks.engine

gpu-check: ## Measure a GPU with PYTHON's own torch: fine-tuning, parity, engine, service (docs/gpu.md)
	$(PYTHON) -m benchmarks.gpu

image: model ## Container image IMAGE, precis:latest, of RECIPE's model for DEVICE (needs a container engine)
	$(PYTHON) -m tools.image $(RUN) --device $(DEVICE) --tag $(IMAGE)

image-test: | env ## The API's tests against a container of IMAGE on PORT, and the container's own (needs a container engine)
	tools/image_test.sh $(IMAGE) $(PORT)

image-archive: ## Save IMAGE as artifacts/image.tar.gz
	docker save $(IMAGE) | gzip > artifacts/image.tar.gz

image-load: ## Load the image in artifacts/image.tar.gz
	docker load --input artifacts/image.tar.gz

push: ## Push precis:latest as IMAGE to its registry (REGISTRY_USER and REGISTRY_TOKEN log in)
	tools/push.sh $(IMAGE)

sbom: | env ## List what an image for DEVICE contains: artifacts/sbom.json (CycloneDX), artifacts/licences.md
	tools/sbom.sh $(DEVICE)

audit: | env ## Known vulnerabilities of the packages in every lock but those of requirements/vex.json (needs the network)
	tools/audit.sh

resolve: | env ## Whether every lock can be installed on every platform and Python (installs nothing; needs the network)
	tools/resolve.sh

lock: | env ## Resolve pyproject.toml's extras into requirements/ with no more changes than needed
	tools/lock.sh

upgrade: | env ## Resolve from scratch, then rebuild the environments and the model
	rm -f $(filter-out %/torch-cpu.txt,$(wildcard requirements/*.txt)) && tools/lock.sh && rm -rf artifacts
	$(MAKE) model

clean: ## Remove the environments and everything built
	rm -rf .venv .venv-serve .venv-next artifacts .pytest_cache .ruff_cache .mypy_cache
