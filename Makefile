# make demo     a whole release on this machine, then a question to production      (KEEP=1 leaves it running)
# make test     every test                                                          (ARGS="tests/config -k revision" narrows it)
# make soak     the long forms of promises that `make test` keeps in a small form: minutes each, the machine to itself
# make faults   every call of a promotion, a rollback, an evaluation … failed in every way: what is lost?  (ARGS="update --sample 50" narrows it)
# make lint     ruff, the model files, mypy --strict, import-linter, deptry; cfn-lint and checkov on infra/
# make wheels   dist/: sagemaker_local and loadtest, each tried by itself in a fresh environment
# make mutants  small faults put into the code one at a time: does a test notice?     (ARGS="config.updates" narrows it)
# make install  what `make test` and `make lint` need; `make demo` installs less
# make clean    stop what runs and remove what was made
#
# All that is needed is Python ≥ 3.11 and a package index. Each installs first what it needs (requirements/, locked with hashes) and says
# how large that is.

PYTHON ?= python3
MODEL ?= smollm2-135m
VENV := .venv
RUN := $(VENV)/bin/python
FOR_DEMO := $(VENV)/.installed-demo
FOR_DEV := $(VENV)/.installed-dev
INFRA_VENV := .venv-infra
FOR_INFRA := $(INFRA_VENV)/.installed-lint-infra
# An environment variable that some machines set would leave SageMaker's SDK uncompiled, 10 s at every start.
export PYTHONDONTWRITEBYTECODE :=
export SAGEMAKER_TELEMETRY_OPT_OUT := true

.PHONY: demo test soak faults lint mutants wheels format schema lock install clean

demo: $(FOR_DEMO)
	@KEEP="$(KEEP)" $(RUN) -m pipelines.commands.setup.demo $(MODEL)

test: $(FOR_DEV)
	$(RUN) -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(FOR_DEV)
	$(RUN) -m pytest -m soak -n 2 --dist loadfile --timeout=3600 $(ARGS)

faults: $(FOR_DEV)
	$(RUN) -m tests.faults $(ARGS)

# --no-cache: a cached answer to "is this import ours?" outlives the moment a room was added, and CI, which has no cache, says otherwise.
lint: $(FOR_DEV) $(FOR_INFRA)
	$(RUN) -m ruff format --check --no-cache
	$(RUN) -m ruff check --no-cache
	$(RUN) -m pipelines.run check
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/deptry .
	$(INFRA_VENV)/bin/cfn-lint infra/*.yaml
	$(INFRA_VENV)/bin/checkov --directory infra --framework cloudformation --compact --quiet --skip-download

mutants: $(FOR_DEV)
	$(RUN) -m tooling.mutants $(ARGS)

wheels: $(FOR_DEV)
	$(RUN) -m tooling.wheels

format: $(FOR_DEV)
	$(RUN) -m ruff format
	$(RUN) -m ruff check --fix

schema: $(FOR_DEV)
	$(RUN) -m config

install: $(FOR_DEV)

# After .venv, which has the uv that makes it.
$(FOR_INFRA): | $(FOR_DEV)

$(VENV)/.installed-%: requirements/%.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) tooling/install.py $*

$(INFRA_VENV)/.installed-%: requirements/%.txt requirements/uv.txt
	@$(PYTHON) tooling/install.py $*

lock: $(FOR_DEV)
	$(RUN) -m tooling.lock

clean:
	-test ! -x $(RUN) || $(RUN) -m pipelines.run local down
	rm -rf $(VENV) $(INFRA_VENV) .local .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
