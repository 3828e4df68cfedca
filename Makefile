# make demo    train the semantic branch on the embedded labelled views, score it, write pictures to out/demo/
# make test    lint, formatting, types, and all tests
# make check   the same with the quick tests alone: about a minute
# make test-all  make test, and the tests of everything that datasets are read by and made on (Ray, Hugging Face, TFDS,
#                COLMAP, ...), for which it installs requirements-all.lock, another gigabyte; CI runs this
# All first make .venv and install requirements.lock into it, once. Another Python: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
INSTALLED := $(VENV)/.installed
INSTALLED_ALL := $(VENV)/.installed-all
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# XLA compiles in half the time without its newer code generator for CPUs. With it, as users have it, two programs round
# the same thing alike, which the tests marked exact ask for; they run by themselves. Of a part of all tests that was
# asked for, either may have none (status 5).
QUICKER := XLA_FLAGS="--xla_cpu_use_fusion_emitters=false" $(PYTEST)
OR_NONE := || [ $$? -eq 5 ]

.PHONY: demo test test-all check lint format install lock clean

demo: $(INSTALLED)
	$(BIN)/python -m dnerf_jax.demo

test: lint
	$(QUICKER) -m "not forms and not exact" $(PYTEST_ARGS) $(OR_NONE)
	$(PYTEST) -m "exact and not forms" $(PYTEST_ARGS) $(OR_NONE)

test-all: $(INSTALLED_ALL) lint
	$(QUICKER) -m "not exact" $(PYTEST_ARGS) $(OR_NONE)
	$(PYTEST) -m exact $(PYTEST_ARGS) $(OR_NONE)

check: lint
	$(QUICKER) -m "not slow and not forms and not exact" --durations=0 --durations-min=2 $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy --no-error-summary dnerf_jax/ops dnerf_jax/models

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

# The stamp is written last: an installation that was interrupted starts anew, a finished one is not repeated.
$(INSTALLED): requirements.lock setup.py .ci/make_venv.py
	$(PYTHON) .ci/make_venv.py $(VENV)
	@echo "installing requirements.lock into $(VENV): once, about a minute"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(INSTALLED_ALL): $(INSTALLED) requirements-all.lock
	@echo "installing requirements-all.lock into $(VENV): once, some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-all.lock
	@touch $@

# Exact versions for every supported Python in one file; needs uv (pip install uv). dateutil 4 would hold others back.
COMPILE := echo "python-dateutil<3" | uv pip compile setup.py --universal --python-version 3.11 --no-annotate \
	--fork-strategy requires-python --custom-compile-command "make lock" --upgrade --constraint /dev/stdin
lock:
	$(COMPILE) --extra test-all --output-file requirements-all.lock
	$(COMPILE) --extra test --constraint requirements-all.lock --output-file requirements.lock

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache .mypy_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
