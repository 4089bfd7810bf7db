# Two commands do everything on a fresh machine: `make demo` and `make test`; `make test-all` is what counts before a
# merge.
# PYTHON is any Python 3.11 to 3.13; everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python

PYTEST := $(RUN) -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

.PHONY: demo test test-all slow lint clean

demo: $(READY)
	$(RUN) -m recipes.demo

# Every function, and of every model that it learns, resumes, exports and serves.
test: $(READY)
	$(PYTEST) -m "not slow and not exhaustive"

# With oneDNN, as TensorFlow Serving has it, whatever the processor; what depends on it without it once more.
test-all: $(READY)
	TF_ENABLE_ONEDNN_OPTS=1 $(PYTEST)
	TF_ENABLE_ONEDNN_OPTS=0 $(PYTEST) -m "not slow and convolutional"

slow: $(READY)
	$(RUN) -m pytest -m slow

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

$(READY): setup.py constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" \
		|| { echo "Zoo needs Python 3.11 to 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into $(VENV); this takes a few minutes once."
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $(READY)

clean:
	rm -rf $(VENV) runs build *.egg-info
