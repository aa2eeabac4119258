# Everything a person types in this checkout. POSIX make and sh; tools/setup.sh brings the rest.
.POSIX:
.PHONY: help setup demo demo-fail demo-down test check bench docs lock clean

bin = .venv/bin

help:
	@echo 'make setup      virtual environment .venv and, as root on Debian, the packages of the lab'
	@echo 'make demo       provision an environment in the lab, and say where it answers'
	@echo 'make demo-fail  a second environment whose migration breaks, and how it is taken back'
	@echo 'make demo-down  take down what both made'
	@echo 'make test       all tests'
	@echo 'make check      style, types and layers'
	@echo 'make bench      how fast it is on this machine; PEERS="taskflow luigi dbos prefect dagster" measures others beside it'
	@echo 'make docs       bring the generated parts of docs/ up to date'
	@echo 'make lock       make requirements.lock anew from pyproject.toml'
	@echo 'make clean      remove .venv and caches; environments and runs stay'

setup:
	@sh tools/setup.sh

demo: setup
	@$(bin)/python tools/demo.py up

demo-fail: setup
	@$(bin)/python tools/demo.py fail

demo-down: setup
	@$(bin)/python tools/demo.py down

test:
	@sh tools/setup.sh postgresql
	$(bin)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup
	$(bin)/ruff check
	$(bin)/mypy
	$(bin)/lint-imports

bench: setup
	$(bin)/python -m benchmarks --peers $(PEERS)

docs: setup
	$(bin)/python tools/docs.py

lock: setup
	$(bin)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(bin)/uv pip compile pyproject.toml --quiet --upgrade --all-extras --group dev --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --no-annotate --custom-compile-command 'make lock' \
		--output-file requirements.lock

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
