# Everything runs in .venv, which is made on first use and brought up to date when the build's own files change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help:  ## say what there is to make
	@sed -n 's/^\([a-z]*\):.*## /    make \1 -- /p' Makefile

demo: $(VENV)/.test  ## validate every pooling of nine real networks, race onnxruntime, and examine one of them
	@models=$$($(BIN)/python -c "import onnx; print(onnx.__path__[0])")/backend/test/data/light && \
	$(BIN)/pooling validate "$$models"/light_*.onnx && \
	$(BIN)/pooling doctor "$$models"/light_resnet50.onnx --object 8 --fail-on never

test: $(VENV)/.test  ## run the tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# The types are checked where the package is in one piece, as it is installed: export/ is pooling.export.
lint: $(VENV)/.test $(VENV)/.lint  ## check style, Cython and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint pyx  # it calls pycodestyle by name
	rm -rf build/typed && mkdir -p build/typed
	cp -R pooling build/typed/pooling && cp -R export build/typed/pooling/export
	cd build/typed && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p pooling

bench: $(VENV)/.bench  ## race against other libraries, and hold the figures against the targets
	@mkdir -p build
	$(BIN)/python -m benchmarks --json build/benchmarks.json
	@echo "To write it into the pages: $(BIN)/python -m benchmarks.report build/benchmarks.json"

clean:  ## remove everything that was built, .venv as well
	rm -rf $(VENV) build dist *.egg-info pooling/*.so .*_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# .venv/.<extra> says that the package was built and installed with that extra.
$(VENV)/.%: pyproject.toml setup.py $(wildcard pyx/*) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
