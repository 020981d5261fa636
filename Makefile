# Two commands matter: `make demo` shows the product, `make test` proves it.
# Both need python3 (3.11 or newer, with venv) or uv, and the package index; nothing else.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := messaging chassis orchestrator participants dlq_worker
SCRIPTS := .ci/run tests/environment/install tests/servers/apt-install
# What pytest is to run, for example: make test PYTEST_ARGS="tests/store"
PYTEST_ARGS ?=
# Three at a time keep two cores busy: many tests mostly wait. -n 0 in PYTEST_ARGS: one by one.
SIDE_BY_SIDE := -n 3 --dist worksteal
# What the demo is to do, for example: make demo DEMO_ARGS="--sagas 50"
DEMO_ARGS ?=
# What is to be played, for example: make chaos SCENARIO=rabbit-sigkill,conn-rst SEED=7 SAGAS=200
SCENARIO ?=
SEED ?=
SAGAS ?=
# How many seeds the simulator is to run; SEED: the one whose story it is to tell
SEEDS ?= 1000
# For how long `make fuzz` tries, for example: make fuzz MINUTES=60
MINUTES ?= 10
# Which example is to be played: make example NAME=travel-booking
NAME ?= bank-transfer
# What of it is to be drilled, for example: make drill DRILL_ARGS="--step debit"
DRILL_ARGS ?=
# What is measured, and how long: see `python -m bench --help`
BENCH_ARGS ?=
PEERS ?=
# Which sagas to walk through, for example: make walk WALK_ARGS="3 once"
WALK_ARGS ?=
FAST := not (rabbitmq or postgres or node or prometheus or slow)

export PYTHON

##@ Use

.PHONY: help
help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z-]*:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.for-demo ## Run some hundred orders in one process; needs no server
	$(BIN)/saga demo $(DEMO_ARGS)

.PHONY: example
example: $(VENV)/.for-test ## Play an example on real servers, and close its books; see NAME
	$(BIN)/python tests/services.py run -- $(BIN)/python -m tests.examples $(NAME)

.PHONY: drill
drill: $(VENV)/.for-demo ## Try every fault at every step of an example; see NAME
	$(BIN)/saga drill orchestrator.testing.drill.examples.$(subst -,_,$(NAME)) $(DRILL_ARGS)

.PHONY: test
test: $(VENV)/.for-test ## Run the whole suite; finds or starts RabbitMQ and PostgreSQL
	$(BIN)/python tests/services.py run -- \
	  $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(PYTEST_ARGS)

.PHONY: chaos
chaos: $(VENV)/.for-test ## Hurt real daemons and servers, and look for what is lost; see SCENARIO
	$(BIN)/python -m tests.chaos $(SCENARIO) $(if $(SEED),--seed $(SEED)) \
	  $(if $(SAGAS),--sagas $(SAGAS)) --report docs/reliability.md

# A long run, for example: make soak SAGAS=5000 FAULTS=50 SEED=7; RECORD=1 shows it in the docs
.PHONY: soak
soak: $(VENV)/.for-test ## Run 100,000 sagas under 250 faults: is anything lost, does anything grow?
	$(BIN)/python -W ignore -m tests.soak --sagas $(or $(SAGAS),100000) \
	  --faults $(or $(FAULTS),250) $(if $(SEED),--seed $(SEED)) $(if $(RECORD),--record)

# For example: make bench BENCH_ARGS="--only countermand --seconds 20"; PEERS=1 installs others
.PHONY: bench
bench: $(VENV)/.for-test ## Measure Countermand beside its ceilings, and write docs/performance.md
	$(BIN)/python -m bench --report docs/performance.md $(if $(PEERS),--peers) $(BENCH_ARGS)

##@ Work on it

.PHONY: check
check: lint types imports fast ## Format, lint, types, imports and the tests that need no server

.PHONY: format
format: $(VENV)/.for-check ## Format the code and mend what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: lint
lint: $(VENV)/.for-check ## Look at format, style and shell scripts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/shellcheck $(SCRIPTS)

.PHONY: types
types: $(VENV)/.for-check ## Check types, strictly
	$(BIN)/mypy

.PHONY: imports
imports: $(VENV)/.for-check ## Check who imports whom, and that every dependency is declared
	$(BIN)/lint-imports
	$(BIN)/deptry $(PACKAGES)

.PHONY: fast
fast: $(VENV)/.for-check ## Run the tests that need no server
	env -u CI -u SAGA_TEST_AMQP_URL -u SAGA_TEST_DATABASE_URL \
	  $(BIN)/python -m pytest -m "$(FAST)" $(PYTEST_ARGS)

.PHONY: simulate
simulate: $(VENV)/.for-test ## Run SEEDS=1000 storms of faults in virtual time, or tell SEED=n's story
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(if $(SEED),--seed $(SEED))

.PHONY: fuzz
fuzz: $(VENV)/.for-test ## Try all that reads foreign input for MINUTES=10
	$(BIN)/python -m tests.fuzzing.long_run --minutes $(MINUTES) $(FUZZ_ARGS)

.PHONY: walk
walk: $(VENV)/.for-test ## Walk through every reachable saga of up to four steps; takes long
	$(BIN)/python tests/saga/walk_all.py $(WALK_ARGS)

.PHONY: mutations
mutations: $(VENV)/.for-test ## Plant every known fault in the rules and look whether it is caught
	$(BIN)/python tests/saga/faults_page.py --look

.PHONY: lock
lock: ## Renew uv.lock after a change of dependencies; needs uv
	uv lock

.PHONY: clean
clean: ## Remove the virtual environment and everything that was generated
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment; a richer one also does for the poorer purposes.
INSTALL := tests/environment/install $(VENV)

$(VENV)/.for-demo: pyproject.toml uv.lock
	$(INSTALL)
	@touch $@

$(VENV)/.for-test: pyproject.toml uv.lock
	$(INSTALL) test
	@touch $@ $(VENV)/.for-demo

$(VENV)/.for-check: pyproject.toml uv.lock
	$(INSTALL) test lint
	@touch $@ $(VENV)/.for-test $(VENV)/.for-demo
