# `make demo` distills a real classifier, `make test` runs the tests, `make docs` builds the documentation site in
# build/site, `make scan` looks for secrets in tracked files, `make benchmark` measures (QUICK=--quick: less of
# everything), `make robustness` interrupts training runs, fuzzes, and runs the tests on the oldest and newest versions,
# in about an hour. All of them create .venv first.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

BENCHMARKS := compare_peers step_cost student_step search_cost teacher_precision growth startup

.PHONY: demo test check docs scan benchmark robustness clean

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: .venv/installed
	$(BIN)/python -m pytest

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python tools/build_docs.py

scan: .venv/installed
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --plugin tools/hub_token_detector.py

benchmark: .venv/installed
	mkdir -p benchmarks/results
	set -o pipefail; for name in $(BENCHMARKS); do \
		$(BIN)/python -u benchmarks/$$name.py $(QUICK) | tee benchmarks/results/$$name.txt || exit 1; done

robustness: .venv/installed
	mkdir -p benchmarks/results benchmarks/work
	set -o pipefail; for script in benchmarks/faults.py benchmarks/process_counts.py benchmarks/fuzz.py \
		tools/version_matrix.py; do printf '\n`%s`\n\n' $$script; \
		$(BIN)/python -u $$script 2>> benchmarks/work/robustness.log || exit 1; \
	done | tee benchmarks/results/robustness.md

clean:
	rm -rf .venv demo_output build *.egg-info
