# A new machine needs only Python 3.11, make and a package index: make app, make test.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The environment that captions and serves, without PyTorch: a tenth of the other's size.
LIGHT := .venv-light/bin
IMAGE ?=

.PHONY: app test test-cluster test-light test-install caption named train results bench sizes scale tour \
	walkthrough photographs soak clean .venv .venv-light

app: .venv-light
	$(LIGHT)/python -m streamlit run streamlit_app.py

test: .venv/.tests-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# What takes minutes: real clusters, and trainings in several processes.
test-cluster: .venv/.tests-ready
	$(BIN)/python -m pytest -m cluster

# What the light environment must do: caption, score a file, serve the app.
test-light: .venv/.tests-ready .venv-light
	$(BIN)/python -m pytest tests/check_light.py

# Builds the wheel, installs it into a fresh environment, and uses its commands from another folder.
# That environment borrows the packages of .venv: a second copy would take five gigabytes and two
# minutes. That pyproject.toml names all of them is therefore checked by tests/test_install.py.
test-install: .venv/.tests-ready
	$(BIN)/python -m pytest -o tmp_path_retention_policy=failed tests/check_install.py

caption: named .venv-light
	@$(LIGHT)/python -m captioning "$$PHOTOGRAPH"

# By the environment, as it was typed: make would expand a dollar in the name, the shell a quote.
caption named: export PHOTOGRAPH = $(value IMAGE)

named:
	@test -n "$$PHOTOGRAPH" || { echo "name a photograph: make caption IMAGE=photo.jpg"; exit 2; }

train: .venv
	$(BIN)/python main.py

# Scores the model that ships, and writes its results and its card. Where there is another data set,
# or a folder of strange pictures, it is scored beside Flickr8k.
OTHER_SETS := $(if $(wildcard everyday/captions.txt),\
	--also everyday/captions.txt everyday/Images --manner 'web_*=web')
STRANGE := $(if $(wildcard strange),--strange strange)
results: .venv
	$(BIN)/python bleu_scorer.py --publish --beams --four-references --against human $(OTHER_SETS) $(STRANGE)

# Nothing else may run while it measures.
bench: .venv/.tests-ready
	$(BIN)/python -m tools.bench

# What set-ups cost, for the README's table: it installs each of them in a temporary folder.
sizes: .venv/.tests-ready
	$(BIN)/python -m tools.sizes

# Captioning on Ray, and a simulated cluster, for docs/scale.md.
scale: .venv/.tests-ready
	$(BIN)/python -m tools.scale

# The pictures of the README's tour, taken with Chromium.
tour: .venv/.tests-ready
	$(BIN)/python -m tools.tour

# The pictures of docs/walkthrough.md.
walkthrough: .venv/.tests-ready
	$(BIN)/python -m tools.walkthrough

# The development photographs as phones would have taken them, scored beside the originals.
photographs: .venv/.tests-ready
	$(BIN)/python -m tools.photographs

# Everything that could break it, tried many times, for the table of SECURITY.md. Takes hours.
soak: .venv/.tests-ready
	$(BIN)/python -m tools.soak

clean:
	rm -rf .venv .venv-light build cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Each mark is made last, so that an environment that was interrupted is built again.
.venv: .venv/.ready

.venv/.ready: requirements.txt
	@echo "setting up .venv (a few minutes and some gigabytes, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	@touch $@

.venv/.tests-ready: .venv/.ready pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

.venv-light: .venv-light/.ready

.venv-light/.ready: pyproject.toml
	@echo "setting up .venv-light (a minute and 700 MB, once)"
	$(PYTHON) -m venv .venv-light
	$(LIGHT)/python -m pip install --quiet -e '.[app,score]'
	@touch $@
