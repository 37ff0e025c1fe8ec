# make report   the first command: environment, cohort, training, book (demo profile)
# make test     what CI runs: unit tests, stored outputs of the notebooks, the whole book in the smoke profile
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := requirements.txt requirements-torch.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TEST_HOME := $(CURDIR)/_build/test
NOTEBOOK_HOME := $(CURDIR)/_build/notebooks
NOTEBOOKS := $(sort $(wildcard notebooks/[0-9][0-9]_*.ipynb))
STRIP := -m nbstripout --keep-count --extra-keys "metadata.papermill metadata.widgets metadata.language_info.version \
cell.metadata.papermill cell.metadata.execution"
PROFILE ?= demo
RUN ?= $(PROFILE)

.PHONY: report test unit notebooks-check book-check lint notebooks api lab bench bench-gpu study architectures pathology weights-scores rehearsal lock clean help
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 20

$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11, 5) <= sys.version_info < (3, 13))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version); Python 3.11.5 to 3.12 is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes --no-deps --only-binary :all: -r requirements.txt
	@# by version alone, from the index that is set up; what else it needs is there already, but for CUDA's libraries
	$(INSTALL) --only-binary :all: -r requirements-torch.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	@test -e $(BENCH_STAMP) || $(BIN)/python -m pip check --disable-pip-version-check  # `bench` takes torchvision out
	@# commits keep only the notebook outputs that are compared; .gitattributes names this filter
	@if git rev-parse --git-dir >/dev/null 2>&1; then \
	  git config filter.nbstripout.clean '$(BIN)/python $(STRIP)' && \
	  git config filter.nbstripout.smudge cat && git config diff.ipynb.textconv '$(BIN)/python $(STRIP) -t'; fi
	@touch $@

report: $(STAMP)  ## run the notebooks and print the book; PROFILE=demo RUN=demo
	$(BIN)/spineseg report --profile $(PROFILE) --run $(RUN)

test: unit notebooks-check book-check  ## everything that CI checks

unit: $(STAMP)  ## unit tests
	$(BIN)/python -m pytest tests

# a home of its own: nothing left from earlier code can make these pass
notebooks-check: unit  ## stored notebook outputs against fresh ones, smoke profile
	rm -rf $(TEST_HOME)
	SPINESEG_HOME=$(TEST_HOME) $(BIN)/python -m pytest -p no:cacheprovider --nbval-lax --nbval-current-env \
	  --nbval-sanitize-with tests/nbval_sanitise.cfg $(NOTEBOOKS)

book-check: notebooks-check  ## the whole book, smoke profile, without a warning
	SPINESEG_HOME=$(TEST_HOME) $(BIN)/spineseg report --profile smoke --run smoke

lint: $(STAMP)  ## style of code and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python $(STRIP) --verify $(NOTEBOOKS)

notebooks: $(STAMP)  ## run the notebooks in place, smoke profile, and keep only the compared outputs
	rm -rf $(NOTEBOOK_HOME)
	for notebook in $(NOTEBOOKS); do \
	  SPINESEG_HOME=$(NOTEBOOK_HOME) $(BIN)/python -m jupyter nbconvert --to notebook --execute --inplace $$notebook \
	  || exit 1; done
	$(BIN)/python $(STRIP) $(NOTEBOOKS)

api: $(STAMP)  ## list the package's modules on the book's API page
	$(BIN)/python -m spineseg.report.api > book/api.md

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.allow_remote_access=False notebooks

# the other libraries are for measuring beside alone; the package never imports them
BENCH_STAMP := $(VENV)/.bench-installed
$(BENCH_STAMP): $(STAMP)
	@# they are in no lock; what they share with ours keeps its version
	sed -n 's/^\([A-Za-z][^ ]*==[^ ]*\).*/\1/p' $(LOCK) > $(VENV)/pins.txt
	$(INSTALL) --no-build-isolation -c $(VENV)/pins.txt -e '.[bench]'
	@# nnU-Net brings torchvision, which cannot be imported beside a torch of another build; nothing here needs it
	$(BIN)/python -c 'import torchvision' 2>/dev/null || $(BIN)/python -m pip uninstall --quiet --yes torchvision
	@touch $@

bench: $(BENCH_STAMP)  ## speed and memory, beside other libraries and against size; half an hour
	for script in run memory growth spent; do $(BIN)/python benchmarks/$$script.py || exit 1; done
	$(BIN)/python benchmarks/prediction.py --out benchmarks/results/prediction.json
	$(BIN)/python benchmarks/phantom.py

bench-gpu: $(BENCH_STAMP)  ## training steps, memory, phantoms and a prediction on a GPU
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/memory.py

study: $(STAMP)  ## what each choice of the cascade is worth, one change at a time; hours
	$(BIN)/python benchmarks/study.py _build/study

weights-scores: $(STAMP)  ## score the weights in the box anew, on phantoms and on real pairs where present
	$(BIN)/python -m spineseg.report.boxed_scores

architectures: $(STAMP)  ## what other networks and losses cost and reach under equal budgets; hours on one core
	$(BIN)/python benchmarks/architectures.py
	$(BIN)/python benchmarks/budgets.py _build/budgets

HEALTH := _build/health
SCANS ?=
JOBS ?= 2
TRIAL := $(if $(SCANS),$(HEALTH)/trial-$(SCANS))
pathology: $(STAMP)  ## exactness of measures, the call on planted pathology, the real cases; an hour or two (SCANS=2: a trial, minutes)
	$(BIN)/python benchmarks/morphometry.py $(if $(SCANS),--seeds $(SCANS) --out $(TRIAL)/morphometry.json)
	$(BIN)/python benchmarks/pathology_cohort.py $(or $(TRIAL),$(HEALTH)) --predicted --jobs $(JOBS) \
	  $(if $(SCANS),--count $(SCANS))
	$(BIN)/python benchmarks/pathology.py $(or $(TRIAL),$(HEALTH)) --network \
	  $(if $(SCANS),--least-cases 1 --out $(TRIAL)/pathology.json,--keep)
	$(BIN)/python benchmarks/real_measures.py $(if $(SCANS),--cases 1 --out $(TRIAL)/real_measures.json)

rehearsal: $(STAMP)  ## a thousand cases with planted faults and killed workers; half an hour
	$(BIN)/python benchmarks/rehearsal.py _build/rehearsal --out benchmarks/results/rehearsal.json

# one lock for every platform and both Pythons; without torch and what only its CUDA build needs, see requirements-torch.txt
lock:  ## resolve pyproject.toml, hold what comes out to hashes, keep versions where that can be; needs uv
	uv pip compile --quiet --generate-hashes --python-version 3.11.5 --no-annotate --custom-compile-command 'make lock' \
	  --extra architectures --extra book --extra dev -c requirements-torch.txt -o requirements.txt pyproject.toml
	awk '/^[A-Za-z]/ {drop = /^(torch==|triton==|cuda-|nvidia-)/} !drop' requirements.txt > requirements.new
	mv requirements.new requirements.txt

clean:  ## remove what was built; runs, data and the environment stay
	rm -rf _build book/_static/views .pytest_cache .ruff_cache .hypothesis
	find spineseg tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
