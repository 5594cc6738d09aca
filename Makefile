# A new machine needs only Python 3.11, make and a package index: make app, make test.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The environment that captions and serves, without PyTorch: a tenth of the other's size.
LIGHT := .venv-light/bin
# The lowest versions that pyproject.toml allows, and another Python.
LOWEST := .venv-lowest/bin
OTHER := .venv-$(notdir $(PYTHON))
IMAGE ?=

.PHONY: app test test-cluster test-light test-lowest test-python test-install audit bom caption named \
	train results bench sizes scale tour walkthrough photographs soak clean .venv .venv-light

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

# The tests with the lowest versions that pyproject.toml allows.
test-lowest: .venv-lowest/.ready
	$(LOWEST)/python -m pytest

# The tests with another Python: make test-python PYTHON=python3.13
test-python: $(OTHER)/.ready
	$(OTHER)/bin/python -m pytest

# Builds the wheel, installs it into a fresh environment, and uses its commands from another folder.
# That environment borrows the packages of .venv: a second copy would take five gigabytes and two
# minutes. That pyproject.toml names all of them is therefore checked by tests/test_install.py.
test-install: .venv/.tests-ready
	$(BIN)/python -m pytest -o tmp_path_retention_policy=failed tests/check_install.py

# Known holes of what is installed, and of the lowest versions that are allowed.
audit: .venv/.tests-ready .venv-light
	$(BIN)/python -m tools.audit .venv .venv-light

# The bill of materials of .venv, and the table of docs/dependencies.md.
bom: .venv/.tests-ready
	$(BIN)/python -m tools.bom

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
	rm -rf .venv .venv-light .venv-lowest .venv-python* build cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

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

.venv-lowest/.ready: pyproject.toml
	@echo "setting up .venv-lowest (a few minutes and some gigabytes, once)"
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m tools.lowest > .venv-lowest/constraints.txt
	$(LOWEST)/python -m pip install --quiet -c .venv-lowest/constraints.txt \
		-e '.[app,openvino,train,parquet,ray,heic,meteor,dev]'
	@touch $@

$(OTHER)/.ready: requirements.txt pyproject.toml
	@echo "setting up $(OTHER) (a few minutes and some gigabytes, once)"
	$(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/python -m pip install --quiet -r requirements.txt -e '.[dev]'
	@touch $@
