# Everything sets itself up: a machine with make and Python 3.11 or newer is enough.

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
JETNET := .venv-jetnet
COMPAT := .venv-compat
LOWEST := .venv-lowest
TOOLS := .venv-tools
RUNTIMES := $(patsubst tests/compat/runtimes/%.txt,$(COMPAT)/%/.ready,$(wildcard tests/compat/runtimes/*.txt))
OUT ?= hepflows-demo
PYTEST_WORKERS ?= auto

# Tests run in several processes: one thread each is fastest, and the same everywhere
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=agg

.DEFAULT_GOAL := help
.PHONY: help demo docs test test-cpp test-parity test-compat test-lowest test-slow lint lock sbom clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo-ready  ## train, sample, export and validate on packaged showers (OUT=hepflows-demo)
	$(PY) -m hepflows demo --out "$(OUT)" --force

test: $(VENV)/.test-ready  ## run the tests
	$(TEST_ENV) $(PY) -m pytest -m "not slow" -n $(PYTEST_WORKERS) --maxprocesses 8

test-cpp: $(VENV)/.test-ready  ## build and test the C++ client (cmake, c++; ONNXRUNTIME_DIR, or fetches headers with npm)
	HEPFLOWS_TEST_CPP=1 $(TEST_ENV) $(PY) -m pytest tests/exporters/test_cpp.py

test-parity: $(VENV)/.test-ready $(JETNET)/.ready  ## compute the reference values of jet metrics, FPD and KPD again (jetnet)
	$(JETNET)/bin/python tests/reference/make_jet_reference.py --check
	$(JETNET)/bin/python tests/reference/make_feature_reference.py --check
	$(TEST_ENV) $(PY) -m pytest tests/validation/test_jet_reference.py tests/validation/test_feature_reference.py

test-compat: $(VENV)/.test-ready $(RUNTIMES) $(COMPAT)/node/.ready  ## check exported files with old and new runtimes
	$(PY) tests/compat/run.py $(COMPAT)

test-slow: $(VENV)/.test-ready  ## run the checks that take minutes
	$(TEST_ENV) $(PY) -m pytest -m slow

test-lowest: $(LOWEST)/.ready  ## run the tests with the lowest versions that pyproject.toml allows
	$(TEST_ENV) $(LOWEST)/bin/python -m pytest -m "not slow" -n $(PYTEST_WORKERS) --maxprocesses 8

docs: $(VENV)/.docs-ready  ## build the documentation in docs/_build/html
	$(PY) docs/commands_page.py
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: $(VENV)/.test-ready  ## ruff, mypy and the import contract
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

# CUDA libraries come with torch's wheels of PyPI, and not with others
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx triton

lock: $(TOOLS)/.ready  ## write requirements-dev.lock: the environment of the tests, with hashes
	{ sed -n '/^#/p' requirements-dev.lock; $(TOOLS)/bin/uv pip compile pyproject.toml --extra dev --extra docs \
		-c constraints.txt --generate-hashes $(addprefix --no-emit-package ,torch $(CUDA)) --no-header --no-annotate \
		--python $(PY) --quiet; } > requirements-dev.lock.new
	mv requirements-dev.lock.new requirements-dev.lock

sbom: $(TOOLS)/.ready $(VENV)/.demo-ready  ## write sbom.json: what the environment consists of (CycloneDX)
	$(TOOLS)/bin/cyclonedx-py environment --output-reproducible --of JSON -o sbom.json $(PY)

clean:  ## remove the environment and caches
	rm -rf $(VENV) $(JETNET) $(COMPAT) $(LOWEST) $(TOOLS) docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# An interpreter counts only if it runs (pyenv leaves dead shims) and can create an environment with pip
# (Debian splits that off into python3-venv).
$(PY):
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			echo "creating $(VENV) with $$("$$python" --version) ($$(command -v "$$python"))"; \
			"$$python" -m venv --clear $(VENV) && exit 0; \
		fi; \
	done; \
	echo "error: no Python 3.11 or newer with the venv module was found" >&2; \
	echo "  what to do: install one (on Debian and Ubuntu: apt install python3 python3-venv)," >&2; \
	echo "  or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	exit 1

# The stamps are new when the installation ended well; a change of the requirements makes them old.
$(VENV)/.demo-ready: pyproject.toml constraints.txt | $(PY)
	$(PIP) install -c constraints.txt -e ".[onnx]"
	@touch $@

$(TOOLS)/.ready: | $(PY)
	$(PY) -m venv --clear $(TOOLS)
	$(TOOLS)/bin/python -m pip --disable-pip-version-check install "uv>=0.9" "cyclonedx-bom>=7"
	@touch $@

$(LOWEST)/.ready: pyproject.toml lowest.txt | $(PY)
	$(PY) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install -c lowest.txt -e ".[test]"
	@touch $@

# jetnet and energyflow need old versions, so they live apart
$(JETNET)/.ready: tests/reference/requirements.txt | $(PY)
	$(PY) -m venv --clear $(JETNET)
	$(JETNET)/bin/python -m pip --disable-pip-version-check install -r tests/reference/requirements.txt
	@touch $@

# numpy and onnxruntime alone: whatever else an exported file needed would be missing here
$(COMPAT)/%/.ready: tests/compat/runtimes/%.txt | $(PY)
	$(PY) -m venv --clear --without-pip $(COMPAT)/$*
	$(PIP) --python $(COMPAT)/$*/bin/python install --no-deps -r $< || { \
		echo "error: onnxruntime $* cannot be installed for $$($(PY) --version)" >&2; \
		echo "  what to do: old versions have no wheels for new Pythons; make clean," >&2; \
		echo "  then make PYTHON=/path/to/python3.11 test-compat" >&2; \
		exit 1; }
	@touch $@

# --ignore-scripts: the packages contain all that is needed, their scripts only fetch CUDA
$(COMPAT)/node/.ready: tests/compat/package.json
	@command -v node >/dev/null && command -v npm >/dev/null || { \
		echo "error: node or npm was not found; half of the runtimes checked here are JavaScript builds" >&2; \
		echo "  what to do: install Node.js 18 or newer with npm" >&2; \
		exit 1; }
	mkdir -p $(COMPAT)/node && cp $< $(COMPAT)/node/
	npm install --prefix $(COMPAT)/node --ignore-scripts --no-audit --no-fund
	@touch $@

$(VENV)/.docs-ready: pyproject.toml constraints.txt | $(PY)
	$(PIP) install -c constraints.txt -e ".[docs]"
	@touch $@ $(VENV)/.demo-ready

$(VENV)/.test-ready: pyproject.toml constraints.txt | $(PY)
	$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.demo-ready
