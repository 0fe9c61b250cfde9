# make demo   a whole release on this machine, then a question to production      (KEEP=1 leaves it running)
# make test   every test                                                          (ARGS="tests/config -k revision" narrows it)
# make soak   the long forms of promises that `make test` keeps in a small form: minutes each, the machine to itself
# make lint   ruff, mypy --strict, import-linter; cfn-lint and checkov on infra/
# make clean  stop what runs and remove what was made
#
# Each makes .venv first, from requirements/dev.txt: all that is needed is Python ≥ 3.11 and a package index.

PYTHON ?= python3
MODEL ?= smollm2-135m
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
INFRA_VENV := .venv-infra
INFRA_INSTALLED := $(INFRA_VENV)/.installed
# Compiled at install: an environment variable that some machines set would leave SageMaker's SDK uncompiled, 10 s at every start.
export PYTHONDONTWRITEBYTECODE :=
export SAGEMAKER_TELEMETRY_OPT_OUT := true

.PHONY: demo test soak lint format schema lock install clean

demo: $(INSTALLED)
	@KEEP="$(KEEP)" $(RUN) -m pipelines.commands.demo $(MODEL)

test: $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist loadfile $(ARGS)

soak: $(INSTALLED)
	$(RUN) -m pytest -m soak --timeout=1800 $(ARGS)

# --no-cache: a cached answer to "is this import ours?" outlives the moment a room was added, and CI, which has no cache, says otherwise.
lint: $(INSTALLED) $(INFRA_INSTALLED)
	$(RUN) -m ruff format --check --no-cache
	$(RUN) -m ruff check --no-cache
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports
	$(INFRA_VENV)/bin/cfn-lint infra/*.yaml
	$(INFRA_VENV)/bin/checkov --directory infra --framework cloudformation --compact --quiet --skip-download

format: $(INSTALLED)
	$(RUN) -m ruff format
	$(RUN) -m ruff check --fix

schema: $(INSTALLED)
	$(RUN) -m config

install: $(INSTALLED)

$(INSTALLED): requirements/dev.txt pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12"; exit 2; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip install --quiet --python $(RUN) --compile-bytecode --require-hashes -r requirements/dev.txt
	$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps --editable .
	@touch $@

# Linters of infra/, apart from everything else: checkov pins boto3 to a version of its own.
$(INFRA_INSTALLED): requirements/lint-infra.txt $(INSTALLED)
	test -x $(INFRA_VENV)/bin/python || $(VENV)/bin/uv venv --quiet --python $(RUN) $(INFRA_VENV)
	$(VENV)/bin/uv pip install --quiet --python $(INFRA_VENV)/bin/python --compile-bytecode --require-hashes -r requirements/lint-infra.txt
	@touch $@

lock:
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra local --extra dev --group demo pyproject.toml --output-file requirements/dev.txt
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group steps --output-file requirements/steps.txt
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group lint-infra --output-file requirements/lint-infra.txt

clean:
	-test ! -x $(RUN) || $(RUN) -m pipelines.run local down
	rm -rf $(VENV) $(INFRA_VENV) .local .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
