# Needs Python >= 3.11 and Node.js >= 20. The first call of any command installs everything else into this folder.
PYTHON ?= python3
BIN := .venv/bin
NODE_TOOLS := infra/local/node_modules/.ready
IDE := infra/local/ide/node_modules/.ready
# Compiled modules are kept: each Functions host, and each process of the tests, would compile all of them anew.
unexport PYTHONDONTWRITEBYTECODE
WORKERS := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help run services demo ide test test-app campaign lint format bench setup clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

run: setup ## serve http://127.0.0.1:7071 until Ctrl-C; PORT=8000 chooses another port, and those after it for the services
	@exec $(BIN)/python -m infra.local run $(if $(PORT),--port="$(PORT)")

services: setup ## start all services except the Functions host, for `func start`
	@exec $(BIN)/python -m infra.local services $(if $(PORT),--port="$(PORT)")

demo: setup ## submit one run over HTTP and print its live events, result and artifacts
	@exec $(BIN)/python -m infra.local demo

ide: setup $(IDE) ## install code-server as the editor of local workspaces; without it they have a page of our own

test: setup ## run all tests
	@exec $(BIN)/python -m pytest $(WORKERS)

test-app: setup ## run all tests except the emulator's own
	@exec $(BIN)/python -m pytest $(WORKERS) --ignore=tests/infra/emulator

campaign: setup ## run a sample of the long series of kills and floods; FULL=1 runs them whole, SEED=n repeats one
	@exec $(BIN)/python -m pytest --numprocesses 2 --dist worksteal tests/campaigns

lint: setup ## check format, lint rules and types
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q . && infra/local/node_modules/.bin/pyright

format: setup ## format the code and fix what the linter can fix
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

bench: setup ## run the benchmarks, write bench/results.json and README's table; FULL=1 goes up to 100,000 records
	@exec $(BIN)/python -m bench

setup: .venv/.ready $(NODE_TOOLS)

.venv/.ready: requirements.txt requirements-dev.txt
	@sh infra/local/setup.sh python "$(PYTHON)"

$(NODE_TOOLS): infra/local/package.json infra/local/package-lock.json
	@sh infra/local/setup.sh node

$(IDE): infra/local/ide/package.json infra/local/ide/package-lock.json
	@sh infra/local/setup.sh ide

clean: ## remove what the commands above installed and stored
	rm -rf .venv .local infra/local/node_modules infra/local/ide/node_modules
