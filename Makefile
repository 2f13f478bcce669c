# What a contributor types. Every target makes its own virtual environment when there is none.
#   make run     install torchkit with torch, look at this machine, then at an example's layers
#   make test    all tests
#   make lint    format, lint, types, generated documents
#   make zoo     well-known models of torchvision, timm and transformers, which it installs; minutes
#   make docs    write the generated documents
#   make bench   what we claim about speed, measured
#   make matrix  a hundred real wheels: what we predict against what the loader says; downloads
#                2 GB into MATRIX_CACHE (build/matrix); other torches: ARGS="--torch PYTHON"
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: run test zoo lint docs bench matrix clean

run: $(VENV)/.installed
	$(BIN)/torchkit env
	$(BIN)/torchkit summary examples/usnet.py:USNet --input 1,256,256 --batch-size 20

test: $(VENV)/.developing
	$(BIN)/python -m pytest $(ARGS)

zoo: $(VENV)/.zoo
	$(BIN)/python -m pytest tests/model/test_known_models.py $(ARGS)

lint: $(VENV)/.developing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/docs.py --check

docs: $(VENV)/.developing
	$(BIN)/python tools/docs.py

bench: $(VENV)/.developing
	$(BIN)/python benchmarks/env.py
	$(BIN)/python benchmarks/binaries.py
	$(BIN)/python benchmarks/summary.py
	$(BIN)/python benchmarks/snoop.py

matrix: $(VENV)/.developing
	$(BIN)/python tools/matrix.py $(ARGS)

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[torch]'
	touch $@

$(VENV)/.developing: pyproject.toml constraints.txt | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[torch,dev]'
	touch $@

$(VENV)/.zoo: pyproject.toml constraints.txt | $(VENV)/.developing
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[torch,dev,zoo]'
	touch $@
