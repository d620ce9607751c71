# Everything runs in .venv, which is made on first use and brought up to date when the build's own files change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint site bench pages clean

help:  ## say what there is to make
	@sed -n 's/^\([a-z]*\):.*## /    make \1 -- /p' Makefile

# Where the tests are set up, their build serves; else only what the demo needs is installed, and one level is compiled.
demo: $(if $(wildcard $(VENV)/.test),$(VENV)/.test,$(VENV)/.onnx,cli)  ## validate every pooling of nine real networks, race onnxruntime, and examine one of them
	@models=$$($(BIN)/python -c "import onnx; print(onnx.__path__[0])")/backend/test/data/light && \
	$(BIN)/pooling validate "$$models"/light_*.onnx && \
	$(BIN)/pooling doctor "$$models"/light_resnet50.onnx --object 8 --fail-on never && \
	printf '%s\n' '' \
	    'The networks above are in' "  $$models" 'The command is $(BIN)/pooling. What to try next:' \
	    '  $(BIN)/pooling validate YOUR_MODEL.onnx --html result.html' \
	    '  $(BIN)/pooling doctor YOUR_MODEL.onnx --object 8 --html page.html' \
	    '  $(BIN)/pooling export "MaxPool2d(3, stride=2, padding=1)" --shape N,64,112,112 -o stem.onnx' \
	    '  $(BIN)/pooling bench' \
	    '  $(BIN)/python -c "import pooling; help(pooling.max_pool2d)"' \
	    'docs/guide.md is the guide to the Python functions; `. $(BIN)/activate` puts both on the PATH.'

test: $(VENV)/.test  ## run the tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

# The types are checked where the package is in one piece, as it is installed: export/ is pooling.export.
lint: $(VENV)/.test $(VENV)/.lint  ## check style, Cython, imports and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint pyx  # it calls pycodestyle by name
	rm -rf build/typed && mkdir -p build/typed
	cp -R pooling _ndpooling.py build/typed && cp -R export build/typed/pooling/export
	cd build/typed && ../../$(BIN)/lint-imports ../../pyproject.toml --no-cache
	cd build/typed && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p pooling -m _ndpooling

# Warnings are errors, and so are links to what is not there. What is built on the way lies in docs/generated.
site: $(VENV)/.docs  ## build the documentation site into build/site
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -d build/site-doctrees docs build/site
	$(BIN)/python docs/check_links.py build/site
	@echo "The site is at build/site/index.html"

# It says at the beginning how long it takes. Stopped and made again, it goes on where it was.
bench: $(VENV)/.bench  ## race against other libraries, and hold the figures against the targets
	@mkdir -p build
	$(BIN)/python -m benchmarks --json build/benchmarks.json
	$(BIN)/python -m benchmarks.blocks
	$(BIN)/python -m benchmarks.filters
	@echo "To write it into README.md and docs/: make pages"

pages: $(VENV)/.bench  ## make bench, and write what it found into README.md and docs/
	@mkdir -p build
	$(BIN)/python -m benchmarks --json build/benchmarks.json --pages
	$(BIN)/python -m benchmarks.blocks --page
	$(BIN)/python -m benchmarks.filters --page

clean:  ## remove everything that was built, .venv as well
	rm -rf $(VENV) build dist docs/generated *.egg-info pooling/*.so .*_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# .venv/.<extras> says that the package was built and installed with those extras. The demo alone does with the level
# that this machine runs. pip shows nothing of a build, so setup.py writes what it does to a file that is shown.
$(VENV)/.onnx,cli: export POOLING_LEVELS ?= native
$(VENV)/.%: pyproject.toml setup.py $(wildcard pyx/* pyx/c/*) | $(BIN)/python
	@echo "make: installs what [$*] needs, then compiles the kernels, which takes a minute or two for each level"
	@mkdir -p build && : > build/progress
	@tail -f build/progress & watch=$$!; \
	POOLING_PROGRESS=$(CURDIR)/build/progress \
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar off --editable ".[$*]"; \
	status=$$?; sleep 1; kill $$watch; exit $$status
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON) here; install Python 3.11 or newer, or name it: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK"
	$(PYTHON) -m venv $(VENV)

# What would fail after minutes is told in the first second. Any Python reads this.
define CHECK
import os, sys
version = ".".join(map(str, sys.version_info[:3]))
if sys.version_info < (3, 11):
    sys.exit("make: $(PYTHON) is Python %s, and 3.11 or newer is needed; name another: make $(MAKECMDGOALS) PYTHON=python3.12" % version)
import shutil, sysconfig
compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
if shutil.which(compiler) is None:
    sys.exit("make: the kernels are compiled here, and there is no C compiler %s; install one (Debian and Ubuntu: apt install gcc; Fedora: dnf install gcc; macOS: xcode-select --install) or name another: make $(MAKECMDGOALS) CC=clang" % compiler)
header = os.path.join(sysconfig.get_path("include"), "Python.h")
if not os.path.exists(header):
    sys.exit("make: %s is missing; install the headers of Python %s (Debian and Ubuntu: apt install python3-dev; Fedora: dnf install python3-devel)" % (header, version))
endef
export CHECK
