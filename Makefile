# The project's commands. You need only make and Python 3.11 with venv; each command installs the rest.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/sh
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 3000
CHROMIUM ?= chromium

VENV := .venv
ENGINE := .venv-ministack
SAM := .venv-sam
export DYNAMO_OUTBOX_MINISTACK := $(abspath $(ENGINE)/bin/ministack)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SAM_CLI_TELEMETRY := 0
LOCAL := PYTHONPATH=src:examples/books $(VENV)/bin/python -m local
TEST := $(VENV)/.ready-test $(ENGINE)/.ready build/.ready
PYTEST := PYTHONPATH=src $(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal
DECODING := $(addprefix tests/unit/test_,records.py fast_records.py shapes.py values.py fast_values.py)

# $(call environment,FOLDER,CONTENT,DURATION): create a new, empty virtual environment.
define environment
	@$(PYTHON) -c 'import sys; sys.exit("dynamo-outbox needs Python 3.11 or newer; choose one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(1): $(2); usually takes $(3)"
	@rm -rf $(1)
	@$(PYTHON) -m venv $(1)
endef

RELAY ?= pipe
TOLD = $(if $(ALARM_TOPIC),AlarmTopic=$(ALARM_TOPIC))
# The SAM CLI looks for the functions' Python on the PATH, where pyenv may have it but not select it.
PYTHON_3_13 := $(addsuffix :,$(lastword $(wildcard $(shell pyenv root 2>/dev/null || echo ~/.pyenv)/versions/3.13.*/bin)))
# $(call sam_build,TEMPLATE,MODE): build the functions with their requirements and the library from this tree, without
# boto3, which Lambda provides.
define sam_build
cd examples/books && PATH="$(PYTHON_3_13)$$PATH" PIP_NO_DEPS=1 PIP_FIND_LINKS=$(CURDIR)/build/sam/wheel PIP_CONSTRAINT=$(CURDIR)/constraints/dev.txt \
	$(abspath $(SAM))/bin/sam build --template $(1) --build-dir $(CURDIR)/build/sam/$(2)
endef
# $(call sam,COMMAND,MODE): run a SAM CLI command with the settings in examples/books/samconfig.toml.
sam = cd examples/books && $(abspath $(SAM))/bin/sam $(1) --config-env $(2)

.PHONY: help demo start start-cdc start-custom-bus test check properties short-proof end-to-end browser proof mutants bench bench-check fuzz coverage docs reference tutorial lint format
.PHONY: costs scaling templates dist test-wheel clean build build-cdc deploy deploy-cdc teardown teardown-cdc check-templates verify-aws

help: ## show these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

demo: $(TEST) ## send a book through every mode on a local engine and show each hop
	@$(LOCAL) demo $(MODES)

start: $(TEST) ## serve the books API, and a page that follows its events, at localhost:3000; RELAY=lambda for the relay
	@$(LOCAL) start outbox-$(if $(filter lambda,$(RELAY)),relay,pipe) --port $(PORT)

start-cdc: $(TEST) ## serve the same in CDC mode
	@$(LOCAL) start cdc --port $(PORT)

start-custom-bus: $(TEST) ## serve the same with the relay and a Custom Event Bus
	@$(LOCAL) start outbox-custom-bus --port $(PORT)

test: $(TEST) ## run the unit, contract, books and docs tests, and the cases
	$(PYTEST) $(or $(ARGS),tests/unit tests/contract tests/books tests/docs tests/cases)

check: ## run all other checks that must pass before a merge
	@for each in properties short-proof end-to-end browser lint bench-check docs tutorial dist test-wheel demo check-templates; \
	do echo "== make $$each" && $(MAKE) --no-print-directory $$each || exit 1; done

properties: $(TEST) ## run the property tests with all their examples, record decoding first
	$(PYTEST) -m hypothesis --hypothesis-profile=full $(DECODING) tests/unit tests/contract tests/proof/fuzz $(ARGS)

short-proof: $(TEST) ## run a shortened proof of the guarantees
	$(PYTEST) tests/proof $(ARGS)

end-to-end: $(TEST) ## test the example's commands end to end
	$(PYTEST) tests/end_to_end $(ARGS)

browser: $(TEST) $(VENV)/.ready-browser ## test the example's page in headless Chromium and take the docs' pictures of it
	@command -v $(CHROMIUM) >/dev/null || { echo "installing Debian's package chromium; usually takes a minute"; \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || { \
		echo "make browser needs Chromium: install it (Debian: apt-get install chromium), or make browser CHROMIUM=/path/to/it" >&2; exit 1; }
	CHROMIUM=$(CHROMIUM) $(PYTEST) tests/browser $(ARGS)

proof: $(TEST) $(VENV)/.ready-proof ## prove the guarantees under faults and print a table of the outcomes; takes 15 minutes
	@$(VENV)/bin/python -m tests.proof $(ARGS)

mutants: $(TEST) ## change the decision code once at each place and count the changes that no test notices; takes half an hour
	PYTHONPATH=src $(VENV)/bin/python -m tests.proof.mutants $(ARGS)

bench: $(VENV)/.ready-bench ## benchmark against the alternatives and print the results with their targets
	@PYTHONPATH=src $(VENV)/bin/python -m benchmarks $(ARGS)

bench-check: $(VENV)/.ready-bench ## check that all sides of the benchmarks do the same work
	@PYTHONPATH=src $(VENV)/bin/python -m benchmarks --check

costs: ## print what a million events cost, computed from list prices
	@$(PYTHON) -m benchmarks.costs $(ARGS)

scaling: $(VENV)/.ready ## compute how far it scales from AWS's quotas and a simulation of 2,000 shards; takes a minute
	@PYTHONPATH=src $(VENV)/bin/python -m benchmarks.scaling $(ARGS)

fuzz: $(VENV)/.ready-test $(VENV)/.ready-proof ## fuzz the decoders for five minutes and extend the corpus
	@mkdir -p build/fuzz
	PYTHONPATH=src $(VENV)/bin/python -m tests.proof.fuzz.guided -max_total_time=300 -max_len=6000 $(ARGS) build/fuzz tests/proof/fuzz/corpus
	PYTHONPATH=src $(VENV)/bin/python -m tests.proof.fuzz.minimise build/fuzz

coverage: $(TEST) $(VENV)/.ready-lint ## report the branch coverage of src; docs/coverage.md explains what is not covered
	$(VENV)/bin/python -m coverage run -m pytest -q --hypothesis-profile=full tests/unit tests/books tests/docs tests/contract
	$(VENV)/bin/python -m coverage report

build: $(SAM)/.ready build/sam/wheel/.ready ## build the example in outbox mode with the SAM CLI
	@$(call sam_build,template.yaml,outbox)

build-cdc: $(SAM)/.ready build/sam/wheel/.ready ## build the example in CDC mode with the SAM CLI
	@$(call sam_build,template.cdc.yaml,cdc)

deploy: build ## deploy the example in outbox mode to your AWS account; RELAY=lambda to use the relay instead of the pipe
	@$(call sam,deploy,outbox) --parameter-overrides Relay=$(RELAY) $(TOLD) $(ARGS)

deploy-cdc: build-cdc ## deploy the example in CDC mode
	@$(call sam,deploy,cdc) $(if $(TOLD),--parameter-overrides $(TOLD)) $(ARGS)

teardown: $(SAM)/.ready ## delete the deployed example in outbox mode and all its data
	@$(SAM)/bin/python examples/books/empty_buckets.py dynamo-outbox-books $(ARGS)
	@$(call sam,delete,outbox) $(ARGS)

teardown-cdc: $(SAM)/.ready ## delete the deployed example in CDC mode and all its data
	@$(SAM)/bin/python examples/books/empty_buckets.py dynamo-outbox-books-cdc $(ARGS)
	@$(call sam,delete,cdc) $(ARGS)

verify-aws: $(VENV)/.ready ## check the library against your own AWS account; asks, deploys a stack, and deletes it
	@PYTHONPATH=src:release $(VENV)/bin/python -m verify_aws $(ARGS)

check-templates: build build-cdc ## validate the templates with the SAM CLI and build the functions
	$(SAM)/bin/sam validate --lint --region eu-central-1 -t examples/books/template.yaml
	$(SAM)/bin/sam validate --lint --region eu-central-1 -t examples/books/template.cdc.yaml
	$(SAM)/bin/sam validate --lint --region eu-central-1 -t examples/books/template.custom-bus.yaml

templates: $(VENV)/.ready-test ## generate the example's templates from its own files and the library's definition
	PYTHONPATH=src $(VENV)/bin/python examples/books/generate.py

docs: $(VENV)/.ready-docs ## build the site of docs/ in build/docs; warnings and broken links are errors
	$(VENV)/bin/python -m tests.docs.fastapi_page
	$(VENV)/bin/python -m sphinx -q -W --keep-going -b html docs build/docs
	$(VENV)/bin/python -m tests.docs.offline build/docs

reference: $(VENV)/.ready-test ## generate the reference from the docstrings, and the docs' tables and diagrams from the code
	$(VENV)/bin/python docs/reference.py
	$(VENV)/bin/python docs/pictures.py

tutorial: $(VENV)/.ready-test ## follow the tutorial in an empty folder, with the wheel and new environments
	@rm -rf build/tutorial
	@$(VENV)/bin/python -m hatchling build -t wheel -d build/tutorial
	@DYNAMO_OUTBOX_TUTORIAL_WHEEL="$$(ls $(CURDIR)/build/tutorial/*.whl)" $(VENV)/bin/python -m pytest -q tests/docs/test_tutorial.py

lint: $(VENV)/.ready-test $(VENV)/.ready-lint ## check style, types and templates
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/basedpyright
	$(VENV)/bin/cfn-lint examples/books/template.yaml examples/books/template.cdc.yaml examples/books/template.custom-bus.yaml

format: $(VENV)/.ready-lint ## format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

dist: $(TEST) $(VENV)/.ready-dist ## build wheel, sdist and SBOM, check them, and audit the workflows
	@rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --pretty=%ct 2>/dev/null || echo 1577836800) $(VENV)/bin/python -m build --no-isolation
	$(VENV)/bin/twine check --strict dist/*.whl dist/*.tar.gz
	@mkdir -p dist/sbom
	$(VENV)/bin/python release/sbom.py dist/*.whl dist/sbom/dynamo-outbox.cdx.json $(abspath $(VENV))/bin/cyclonedx-py
	DYNAMO_OUTBOX_DIST=$(CURDIR)/dist $(VENV)/bin/python -m pytest -q tests/release
	$(VENV)/bin/zizmor --offline --pedantic --no-progress .github/workflows

test-wheel: ## test the wheel of `make dist` in empty environments, with the lowest and the newest dependencies
	@ls dist/*.whl >/dev/null 2>&1 || $(MAKE) dist
	$(PYTHON) release/try_wheel.py dist/*.whl $(or $(ENDS),lowest newest) $(ARGS)

clean: ## remove everything that make has created
	rm -rf $(VENV) $(ENGINE) $(SAM) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The project's own environment, with the library in editable mode. A command adds the groups of pyproject.toml that it
# needs.
$(VENV)/.ready: pyproject.toml constraints/dev.txt
	$(call environment,$(VENV),the library,half a minute)
	@$(VENV)/bin/python -m pip install --quiet pip hatchling editables -c constraints/dev.txt
	@$(VENV)/bin/python -m pip install --quiet --no-build-isolation -e . -c constraints/dev.txt
	@touch $@

$(VENV)/.ready-%: $(VENV)/.ready
	@echo "adding to $(VENV): the group $* of pyproject.toml; usually takes a minute"
	@$(VENV)/bin/python -m pip install --quiet --group $* -c constraints/dev.txt
	@touch $@

# MiniStack pins botocore exactly, so it has its own environment.
$(ENGINE)/.ready: constraints/ministack.txt
	$(call environment,$(ENGINE),the local engine,half a minute)
	@$(ENGINE)/bin/python -m pip install --quiet --no-deps -r constraints/ministack.txt
	@touch $@

# The SAM CLI pins many of its dependencies, so it has its own environment.
$(SAM)/.ready: constraints/sam.txt
	$(call environment,$(SAM),the SAM CLI (340 MB),a minute)
	@$(SAM)/bin/python -m pip install --quiet --no-deps -r constraints/sam.txt
	@touch $@

# The library's wheel for the SAM CLI's builds, because dynamo-outbox is not on PyPI.
build/sam/wheel/.ready: $(SAM)/.ready $(shell find src -name '*.py') pyproject.toml
	@rm -rf build/sam/wheel
	@$(SAM)/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/sam/wheel .
	@touch $@

# The requirements of the functions' zip, and boto3 in place of Lambda's. They are downloaded once, so that packaging needs
# no network.
build/.ready: $(VENV)/.ready examples/books/src/requirements.txt
	@echo "downloading the requirements of the example's functions; usually takes ten seconds"
	@rm -rf build/wheels build/lambda-runtime
	@grep -v dynamo-outbox examples/books/src/requirements.txt | $(VENV)/bin/python -m pip download --quiet --no-deps \
		--only-binary :all: -d build/wheels -c constraints/dev.txt -r /dev/stdin
	@$(VENV)/bin/python -m pip install --quiet --target build/lambda-runtime -c constraints/dev.txt boto3
	@touch $@
