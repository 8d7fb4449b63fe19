# `make demo` distils a real classifier, `make test` runs the tests, `make scan` looks for
# secrets in tracked files, `make benchmark` measures (QUICK=--quick: less of everything); all set up .venv first.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

BENCHMARKS := compare_peers step_cost student_step search_cost teacher_precision growth

.PHONY: demo test check scan benchmark clean

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

scan: .venv/installed
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --plugin tools/hub_token_detector.py

benchmark: .venv/installed
	mkdir -p benchmarks/results
	set -o pipefail; for name in $(BENCHMARKS); do \
		$(BIN)/python -u benchmarks/$$name.py $(QUICK) | tee benchmarks/results/$$name.txt || exit 1; done

clean:
	rm -rf .venv demo_output build *.egg-info
