# make app and make test are all that a new machine needs: Python 3.11, make and a package index.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
IMAGE ?=

.PHONY: app test caption named train results bench tour walkthrough photographs soak clean .venv

app: .venv
	$(BIN)/python -m streamlit run streamlit_app.py

test: .venv/.tests-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

caption: named .venv
	@$(BIN)/python -m captioning "$(IMAGE)"

named:
	@test -n "$(IMAGE)" || { echo "name a photograph: make caption IMAGE=photo.jpg"; exit 2; }

train: .venv
	$(BIN)/python main.py

# Scores the model that ships, and writes its figures and its card.
results: .venv
	$(BIN)/python bleu_scorer.py --publish --beams --four-references --against human

# Nothing else may run while it measures.
bench: .venv/.tests-ready
	$(BIN)/python -m tools.bench

# The pictures of the README's tour, taken with Chromium.
tour: .venv/.tests-ready
	$(BIN)/python -m tools.tour

# The pictures of docs/walkthrough.md.
walkthrough: .venv/.tests-ready
	$(BIN)/python -m tools.walkthrough

# The development photographs as telephones would have made them, scored beside the originals.
photographs: .venv/.tests-ready
	$(BIN)/python -m tools.photographs

# Five hundred photographs through the running app: how long each takes, and the server's memory.
soak: .venv/.tests-ready
	$(BIN)/python -m tools.soak

clean:
	rm -rf .venv cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Each mark is made last: an environment that broke off half-way is built again.
.venv: .venv/.ready

.venv/.ready: requirements.txt
	@echo "setting up .venv (a few minutes and some gigabytes, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	@touch $@

.venv/.tests-ready: .venv/.ready pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@
