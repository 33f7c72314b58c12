# make demo   set up, train and score on a synthetic cohort, print the path of the report
# make test   set up, run the whole test suite
# make fuzz   mutated files of every format that is read, 1,000 of each kind; make test has a seeded part of them
# make docs   set up, build the documents as a site in site/
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date

.PHONY: env demo test fuzz docs check format clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PY) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: env
	PATH="$(CURDIR)/$(BIN):$$PATH" bash demo.sh

test: env
	$(BIN)/python -m pytest

fuzz: env
	MITOSIEVE_FUZZ=1000 $(BIN)/python -m pytest -k fuzz
	PYTHONPATH=tests:tests/slide $(BIN)/python tests/fuzz/fuzz.py all 1000

docs: env
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=src $(BIN)/mkdocs build --strict --quiet
	@echo "$(CURDIR)/site/index.html"

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo site
