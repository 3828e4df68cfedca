# make demo   train the semantic branch on the embedded labelled views, score it, write pictures to out/demo/
# make test   lint and run the tests
# Both first make .venv and install requirements.lock into it, once. Another Python: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
INSTALLED := $(VENV)/.installed
BIN := $(VENV)/bin

.PHONY: demo test install lock clean

demo: $(INSTALLED)
	$(BIN)/python -m dnerf_jax.demo

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

install: $(INSTALLED)

# The stamp is written last: an installation that was interrupted starts anew, a finished one is not repeated.
$(INSTALLED): requirements.lock setup.py .ci/make_venv.py
	$(PYTHON) .ci/make_venv.py $(VENV)
	@echo "installing requirements.lock into $(VENV): once, about two minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Exact versions for every supported Python in one file; needs uv (pip install uv).
lock:
	uv pip compile setup.py --extra test --universal --python-version 3.11 --fork-strategy requires-python \
		--no-annotate --custom-compile-command "make lock" \
		--upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
