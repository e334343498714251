# The project's commands. Each sets up what it needs: a machine with Python 3.11 (venv included) and make is enough.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 3000

VENV := .venv
ENGINE := .venv-ministack
PROOF := .venv-proof
DOCS := .venv-docs
BENCH := .venv-bench
DIST := .venv-dist
SAM := .venv-sam
export DYNAMO_OUTBOX_MINISTACK := $(CURDIR)/$(ENGINE)/bin/ministack
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SAM_CLI_TELEMETRY := 0
LOCAL := PYTHONPATH=examples/books $(VENV)/bin/python -m local

# $(call environment,FOLDER,WHAT): a fresh environment with that in it, by uv where there is one.
define environment
	@$(PYTHON) -c 'import sys; sys.exit("dynamo-outbox needs Python 3.11 or newer; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(1)"
	@rm -rf $(1)
	@if command -v uv >/dev/null; \
	then uv venv --quiet --seed --python $(PYTHON) $(1) && uv pip install --quiet --python $(1)/bin/python $(2); \
	else $(PYTHON) -m venv $(1) && $(1)/bin/python -m pip install --quiet $(2); \
	fi
	@touch $(1)/.ready
endef

RELAY ?= pipe
TOLD = $(if $(ALARM_TOPIC),AlarmTopic=$(ALARM_TOPIC))
# $(call sam_build,TEMPLATE,MODE): the functions with their requirements and no more, as Lambda brings boto3, and the
# library from this tree.
define sam_build
cd examples/books && PIP_NO_DEPS=1 PIP_FIND_LINKS=$(CURDIR)/build/sam/wheel PIP_CONSTRAINT=$(CURDIR)/constraints/function.txt \
	$(CURDIR)/$(SAM)/bin/sam build --template $(1) --build-dir $(CURDIR)/build/sam/$(2)
endef
# $(call sam,COMMAND,MODE): with the settings of examples/books/samconfig.toml.
sam = cd examples/books && $(CURDIR)/$(SAM)/bin/sam $(1) --config-env $(2)

.PHONY: help demo start start-cdc test proof bench fuzz coverage docs tutorial lint format dist test-wheel clean
.PHONY: build build-cdc deploy deploy-cdc teardown teardown-cdc check-templates

help: ## show these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

demo: $(VENV)/.ready $(ENGINE)/.ready build/.ready ## send a book through every mode on a local engine and show each hop
	@$(LOCAL) demo $(MODES)

start: $(VENV)/.ready $(ENGINE)/.ready build/.ready ## serve the books in outbox mode at localhost:3000 until Ctrl-C
	@$(LOCAL) start outbox-pipe --port $(PORT)

start-cdc: $(VENV)/.ready $(ENGINE)/.ready build/.ready ## serve the books in CDC mode at localhost:3000 until Ctrl-C
	@$(LOCAL) start cdc --port $(PORT)

test: $(VENV)/.ready $(ENGINE)/.ready build/.ready ## run the tests
	$(VENV)/bin/python -m pytest $(ARGS)

proof: $(VENV)/.ready $(ENGINE)/.ready $(PROOF)/.ready ## prove the guarantees under faults and print the table of what came of each
	@$(VENV)/bin/python -m tests.proof $(ARGS)

bench: $(BENCH)/.ready ## measure side by side with the peers and print the table of targets and what was got
	@PYTHONPATH=src $(BENCH)/bin/python -m benchmarks $(ARGS)

fuzz: $(PROOF)/.ready ## search for input that the decoders fail on, for five minutes, and add what is new to the corpus
	@mkdir -p build/fuzz
	PYTHONPATH=src $(PROOF)/bin/python -m tests.proof.fuzz.guided -max_total_time=300 -max_len=6000 $(ARGS) build/fuzz tests/proof/fuzz/corpus
	PYTHONPATH=src $(PROOF)/bin/python -m tests.proof.fuzz.minimise build/fuzz

coverage: $(VENV)/.ready $(ENGINE)/.ready build/.ready ## report the branch coverage of src; docs/coverage.md argues what is left
	$(VENV)/bin/python -m coverage run -m pytest -q tests/unit tests/books tests/docs tests/contract
	$(VENV)/bin/python -m coverage report

build: $(SAM)/.ready build/sam/wheel/.ready ## build the example in outbox mode with the SAM CLI, for deploying
	@$(call sam_build,template.yaml,outbox)

build-cdc: $(SAM)/.ready build/sam/wheel/.ready ## the same in CDC mode
	@$(call sam_build,template.cdc.yaml,cdc)

deploy: build ## deploy the example in outbox mode to your AWS account; RELAY=lambda for the relay in place of the pipe
	@$(call sam,deploy,outbox) --parameter-overrides Relay=$(RELAY) $(TOLD) $(ARGS)

deploy-cdc: build-cdc ## deploy the example in CDC mode
	@$(call sam,deploy,cdc) $(if $(TOLD),--parameter-overrides $(TOLD)) $(ARGS)

teardown: $(SAM)/.ready ## delete the deployed example in outbox mode with all its data
	@$(SAM)/bin/python examples/books/empty_buckets.py dynamo-outbox-books $(ARGS)
	@$(call sam,delete,outbox) $(ARGS)

teardown-cdc: $(SAM)/.ready ## delete the deployed example in CDC mode with all its data
	@$(SAM)/bin/python examples/books/empty_buckets.py dynamo-outbox-books-cdc $(ARGS)
	@$(call sam,delete,cdc) $(ARGS)

check-templates: build build-cdc ## check the templates as the SAM CLI does, and build what they deploy
	$(SAM)/bin/sam validate --lint --region eu-central-1 -t examples/books/template.yaml
	$(SAM)/bin/sam validate --lint --region eu-central-1 -t examples/books/template.cdc.yaml

docs: $(DOCS)/.ready ## make the site of docs/ in build/docs; a warning or a link that leads nowhere is an error
	$(DOCS)/bin/python -m tests.docs.fastapi_page
	$(DOCS)/bin/python -m sphinx -q -W --keep-going -b html docs build/docs

tutorial: $(VENV)/.ready ## follow the tutorial in an empty folder, with the wheel and environments of its own
	@rm -rf build/tutorial
	@$(VENV)/bin/python -m hatchling build -t wheel -d build/tutorial
	@DYNAMO_OUTBOX_TUTORIAL_WHEEL="$$(ls $(CURDIR)/build/tutorial/*.whl)" $(VENV)/bin/python -m pytest -q tests/docs/test_tutorial.py

lint: $(VENV)/.ready ## check style, types and templates
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/basedpyright
	$(VENV)/bin/cfn-lint examples/books/template.yaml examples/books/template.cdc.yaml

format: $(VENV)/.ready ## format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

dist: $(VENV)/.ready $(DIST)/.ready ## build wheel, sdist and SBOM, check them, and audit the workflows
	@rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --pretty=%ct 2>/dev/null || echo 1577836800) $(DIST)/bin/python -m build --no-isolation
	$(DIST)/bin/twine check --strict dist/*.whl dist/*.tar.gz
	@mkdir -p dist/sbom
	$(DIST)/bin/python release/sbom.py dist/*.whl dist/sbom/dynamo-outbox.cdx.json $(CURDIR)/$(DIST)/bin/cyclonedx-py
	DYNAMO_OUTBOX_DIST=$(CURDIR)/dist $(VENV)/bin/python -m pytest -q tests/release
	$(DIST)/bin/zizmor --offline --pedantic --no-progress .github/workflows

test-wheel: ## test the wheel of `make dist` in empty environments, with the lowest and the newest dependencies
	@ls dist/*.whl >/dev/null 2>&1 || $(MAKE) dist
	$(PYTHON) release/try_wheel.py dist/*.whl $(or $(ENDS),lowest newest) $(ARGS)

clean: ## remove what make has made
	rm -rf $(VENV) $(ENGINE) $(PROOF) $(BENCH) $(DOCS) $(DIST) $(SAM) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The project's own environment: the library, editable, and what tests, lint and the demo's own side need.
$(VENV)/.ready: pyproject.toml constraints/dev.in constraints/dev.txt
	$(call environment,$(VENV),-r constraints/dev.in -c constraints/dev.txt -e .)

# MiniStack pins botocore exactly, so it has an environment of its own.
$(ENGINE)/.ready: constraints/ministack.txt
	$(call environment,$(ENGINE),-r constraints/ministack.txt)

# What fuzzes, and the peer of the comparison, beside the library: for the proof only.
$(PROOF)/.ready: pyproject.toml constraints/proof.txt constraints/dev.txt
	$(call environment,$(PROOF),-r constraints/proof.txt -c constraints/dev.txt -e .)

# What makes the site, and FastAPI, which one of its pages shows; the library beside it, whose docstrings are read.
$(DOCS)/.ready: pyproject.toml constraints/docs.in constraints/docs.txt constraints/dev.txt
	$(call environment,$(DOCS),-r constraints/docs.in -c constraints/docs.txt -c constraints/dev.txt -e .)

# The peers at their newest versions, beside the library.
$(BENCH)/.ready: pyproject.toml constraints/bench.txt
	$(call environment,$(BENCH),-r constraints/bench.txt -e .)

# What builds and checks the distributions; it never holds the library itself.
$(DIST)/.ready: constraints/dist.txt
	$(call environment,$(DIST),-r constraints/dist.txt)

# The SAM CLI pins much of what it needs, so it has an environment of its own.
$(SAM)/.ready: constraints/sam.txt
	$(call environment,$(SAM),--no-deps -r constraints/sam.txt)

# The library's wheel, for what is built with the SAM CLI: dynamo-outbox is not on PyPI.
build/sam/wheel/.ready: $(SAM)/.ready $(shell find src -name '*.py') pyproject.toml
	@rm -rf build/sam/wheel
	@$(SAM)/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/sam/wheel .
	@touch $@

# What the functions' zip is made of, and the boto3 beside which it is tried: fetched once, so packaging needs no network.
build/.ready: $(VENV)/.ready constraints/function.txt
	@echo "fetching what the functions' zip is made of"
	@rm -rf build/wheels build/lambda-runtime
	@$(VENV)/bin/python -m pip download --quiet --no-deps --only-binary :all: -d build/wheels -r constraints/function.txt
	@$(VENV)/bin/python -m pip install --quiet --target build/lambda-runtime -c constraints/dev.txt boto3
	@touch $@
