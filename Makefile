# Thin names for what is done often; `make help` lists them. CMake builds, deploy/setup installs, tests/run.sh tests.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where the set-up puts what is not a system package.
export SPATIALMAMBA_DEPS ?= $(HOME)/.cache/spatial-mamba
export PATH := $(PATH):$(SPATIALMAMBA_DEPS)/tools/bin
PYTHON := $(SPATIALMAMBA_DEPS)/python/bin/python

# One compiler a core, but none without 1.5 GB of memory: files that include LibTorch or gRPC need that much.
JOBS ?= $(shell awk -v cores=$$(nproc) '/^MemAvailable/ {m = int($$2 / 1500000)} \
                END {print m < 1 ? 1 : m < cores ? m : cores}' /proc/meminfo)
CONFIG ?= deploy/config.yaml
# What computes, where it is not to be what the configuration says: auto, cpu, cuda, '[cuda:0]'.
DEVICE ?=
ARGS ?=

PROGRAMS := spatial-mamba-server spatial-mamba-cli spatial-mamba-loadgen spatial-mamba-convert
NINJA := ninja -C build/release -j $(JOBS)

.PHONY: demo test build serve bench bench-large bench-triton test-gpu bench-gpu mutants package image-check lint format tidy clean help jobs setup setup-test configure

demo: build ## Start the server, send real pictures to all four models through its API, show the answers (DEVICE=cuda, ARGS=... for the demonstration)
	PYTHONPATH=clients/python $(PYTHON) deploy/demo/demo.py $(if $(DEVICE),--device '$(DEVICE)') $(ARGS)

test: setup-test configure ## Build everything and run all tests; the last line is "N passed, N failed"
	@$(NINJA) || { printf 'The build failed; see above.\n0 passed, 1 failed\n'; exit 1; }
	tests/run.sh build/release --python $(PYTHON)

build: setup configure ## Build the server and its tools into build/release/bin
	$(NINJA) $(PROGRAMS)

serve: build ## Run the server in the foreground (CONFIG=deploy/config.yaml DEVICE=cuda)
	exec build/release/bin/spatial-mamba-server --config $(CONFIG) $(if $(DEVICE),--set 'device=$(DEVICE)') $(ARGS)

bench: setup configure ## Measure the model against its PyTorch peer (ARGS=... for the measurement; installs 5 GB once)
	deploy/setup/python-environment.sh bench tests/bench/requirements.txt
	$(NINJA) model_bench floors
	$(SPATIALMAMBA_DEPS)/bench/bin/python tests/bench/model.py \
	  --bench build/release/bin/model_bench --floors build/release/bin/floors $(ARGS)

bench-large: setup-test configure ## Time and memory against picture size, whole, in tiles, and a ViT (ARGS=...; an hour)
	deploy/setup/python-environment.sh bench tests/bench/requirements.txt
	$(NINJA) spatial-mamba-server
	PYTHONPATH=clients/python $(PYTHON) tests/bench/large_images.py \
	  --peer-python $(SPATIALMAMBA_DEPS)/bench/bin/python $(ARGS)

bench-triton: setup-test configure ## Goodput against offered load, beside a Triton server with the PyTorch peer (ARGS=...; ten minutes)
	deploy/setup/python-environment.sh triton tests/bench/triton-requirements.txt
	$(NINJA) spatial-mamba-server
	PYTHONPATH=clients/python $(SPATIALMAMBA_DEPS)/triton/bin/python tests/bench/goodput.py \
	  --triton-python $(SPATIALMAMBA_DEPS)/triton/bin/python $(ARGS)

mutants: setup-test ## Sow known bugs into the GPU kernels, which the tests must find (ARGS=... for mutants.py; builds with sanitizers)
	tests/cuda_on_host/mutants.py --jobs $(JOBS) $(ARGS)

test-gpu: setup-test ## Build, and run what only a GPU can show (tests/gpu/run.sh tells how to take it to a machine that has one)
	tests/gpu/run.sh build
	tests/gpu/run.sh test
	tests/gpu/run.sh sanitize

bench-gpu: setup-test ## Measure the model on a GPU beside PyTorch, compiled ConvNeXt-T and Swin-T (ARGS=...; installs 5 GB once)
	deploy/setup/python-environment.sh bench-gpu tests/bench/gpu_requirements.txt
	tests/gpu/run.sh build
	LIMIT=1200 PYTHON=$(SPATIALMAMBA_DEPS)/bench-gpu/bin/python tests/gpu/run.sh bench $(ARGS)

package: build ## A tarball with the programs, their libraries, and the demonstration models: build/release/*.tar.gz
	cd build/release && cpack

image-check: ## Build the container image and run it, without a container engine (as root; ARGS="--target cuda")
	deploy/setup/install.sh image
	/usr/bin/python3 deploy/package/image_check.py $(ARGS)

lint: ## Check formatting, Python, shell, protocol definitions
	deploy/setup/install.sh lint
	.ci/lint

format: ## Format all C++ files in place, put Python imports in order
	deploy/setup/install.sh lint
	git ls-files -z -co --exclude-standard '*.cc' '*.h' '*.cu' | xargs -0r clang-format -i
	$(SPATIALMAMBA_DEPS)/lint/bin/ruff check -q --fix .

tidy: setup configure ## Look for bugs with clang-tidy (slow; not part of CI)
	deploy/setup/install.sh tidy
	run-clang-tidy -quiet -p build/release -j $(JOBS) '^$(CURDIR)/(model|batching|server|clients)/'

clean: ## Remove everything that was built; installed dependencies stay
	rm -rf build demo-output

help: ## List these names
	@awk -F ': .*## |: ## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

jobs:
	@echo $(JOBS)

setup:
	@deploy/setup/install.sh build python $(if $(DEVICE),cuda)

setup-test:
	@deploy/setup/install.sh build python test cuda

# Ninja itself configures again when a CMake file changes.
configure: | build/release/build.ninja
build/release/build.ninja: | setup
	cmake --preset release
