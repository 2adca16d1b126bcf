# make demo [SOURCE=my.mp4]   set up, run the node on a street (or your video), write an annotated video
# make test [TESTS=PATH]      set up, run every test, or those of a folder or file
# make check                  ruff, formatting, mypy --strict
# make bench [SOURCE=my.mp4]  measure the node against what bounds it
# make constraints            renew constraints.txt from the newest versions that fit

PYTHON ?= python3
VENV ?= .venv
SOURCE ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench constraints clean

demo: $(VENV)/node.ready
	$(BIN)/python launch/demo.py $(SOURCE)

# Unit tests two at a time; integration tests one after another, for each is several processes by itself.
test: $(VENV)/dev.ready
ifdef TESTS
	$(BIN)/python -m pytest $(TESTS)
else
	@failed=0; \
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests/unit || failed=1; \
	$(BIN)/python -m pytest tests/integration tests/gpu || failed=1; \
	exit $$failed
endif

check: $(VENV)/dev.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/node.ready
	$(BIN)/roadcast bench $(SOURCE)

# A stamp is written only after an installation that went through, so a broken one is done again.
$(VENV)/node.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[node,openvino,record,view]'
	touch $@

$(VENV)/dev.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[train,dev,openvino]'
	touch $@ $(VENV)/node.ready

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "roadcast is developed on Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

constraints:
	rm -rf out/constraints && $(PYTHON) -m venv out/constraints
	out/constraints/bin/python -m pip install --quiet '.[train,dev,openvino,crf]'
	{ head -2 constraints.txt; out/constraints/bin/python -m pip freeze --exclude roadcast; } > constraints.txt.part
	mv constraints.txt.part constraints.txt

clean:
	rm -rf $(VENV) out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
