# Two commands on a fresh machine: `make serve` and `make test`. Both rest on `make setup`, which runs once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCHMARKS := start_up ledger fairness ingest local_throughput local_tools

.PHONY: help setup serve test coverage lint fmt bench lock clean

help: ## Show these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Create .venv, install everything, fetch the embedded models (does nothing the second time)

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable .
	$(BIN)/las local install
	touch $@

serve: setup ## Start the server on 127.0.0.1:7777
	@$(BIN)/las serve

test: setup ## Run every test
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

coverage: setup ## The same with branch coverage, which takes half as long again
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

lint: setup ## Check format, style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup ## Format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# All of them run, whatever one says; bars are missed on a machine that has other things to do. What uv lays over the
# environment for one run has no place in the lock: another litellm, and what draws the picture.
bench: setup ## Run the benchmarks: serving, some ten minutes (installs LiteLLM Proxy into .artifacts once), then the others
	@overlay() { VIRTUAL_ENV=$(VENV) $(BIN)/uv run --quiet --no-project --active --with "$$@"; }; missed=; \
	$(BIN)/python -m benchmarks.serving || missed="$$missed serving"; \
	overlay matplotlib python benchmarks/serving/plot.py || missed="$$missed plot"; \
	overlay langchain-litellm python benchmarks/chat_model.py || missed="$$missed chat_model"; \
	for name in $(BENCHMARKS); do \
		echo; echo "$$name"; $(BIN)/python benchmarks/$$name.py || missed="$$missed $$name"; \
	done; \
	if [ -n "$$missed" ]; then echo "These missed a bar:$$missed"; exit 1; fi

# With the extras in it: older versions of pip take a package with an extra for another one than that without, and find no hash.
lock: setup ## Resolve the newest versions into requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-strip-extras --upgrade --quiet -o requirements.lock

clean: ## Remove .venv
	rm -rf $(VENV)
