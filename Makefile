# Two commands on a fresh clone with nothing but Python 3.11+:
#   make demo    distil the embedded digits at one image per class and judge the result
#   make test    lint, types, import contract, tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The pinned torch is a CPU build where one can be had; a looser request may download gigabytes of CUDA.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test tests test-minimum test-slow lint format docs figures report-pictures dist image results ablations bench bench-scaling bench-peers bench-memory bench-gpu planned faults fuzz ranks soak clean

help:
	@grep -E '^#   make|^[a-z-]+:.*## ' Makefile | sed -E 's/^#   //; s/:.*## /\t/' | expand -t 16

install: $(VENV)/installed ## create .venv and install the package

install-dev: $(VENV)/installed-dev ## the same with everything for tests

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) -e ".[dev]"
	@touch $@

demo: install
	$(BIN)/ncfm demo

lint: install-dev ## style, types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Types are checked by one process for as long as the workers need to collect the tests, so both run side by side.
test: install-dev ## all of these and the tests, a process for every core
	@$(MAKE) --no-print-directory --jobs 2 lint tests

tests: install-dev
	$(BIN)/python -m pytest -n logical --dist worksteal

# Another environment than .venv, as its versions are older. The tests run one by one: the point is the versions.
test-minimum: .venv-minimum/installed ## the tests with the oldest supported versions of the dependencies
	.venv-minimum/bin/python -m pytest

.venv-minimum/installed: pyproject.toml constraints-minimum.txt
	$(PYTHON) -m venv .venv-minimum
	.venv-minimum/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-minimum.txt torch
	.venv-minimum/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-minimum.txt -e ".[dev]"
	@touch $@

# DD-Ranking asks for torchvision, which would bring another torch; the test has what it uses of it.
test-slow: install-dev ## the tests that take longer
	$(INSTALL) -e ".[dev,tensorboard,wandb]"
	$(INSTALL) --no-deps ddranking==0.2.0
	$(BIN)/python -m pytest -m slow

format: install-dev ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-docs ## build the site into site/, any warning an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

$(VENV)/installed-docs: $(VENV)/installed
	$(INSTALL) -e ".[docs]"
	@touch $@

figures: install ## draw the figures of the documentation again, from committed rows and sets
	$(BIN)/python tools/figures.py
	$(BIN)/python -m tools.row_figures
	$(BIN)/python -m tools.adversary_figure
	$(BIN)/python -m tools.gallery_pictures
	$(BIN)/python examples/generator_2d.py --out docs/images/generator-2d.png

report-pictures: install-dev ## pictures of docs/how-to/report.md; minutes, needs Chromium
	$(BIN)/ncfm distill digits --ipc 10 --out runs/noise --set distill.iterations=400 --set distill.factor=1 \
		--set distill.init=noise --set distill.image_lr=0.03 --set machine.diagnose_every=50
	$(BIN)/ncfm evaluate runs/noise
	$(BIN)/ncfm report runs/noise
	$(BIN)/ncfm report gallery/cifar10-ipc10 --out runs/gallery.html
	$(BIN)/python -m tools.report_pictures runs/noise/report.html runs/gallery.html

dist: install-dev ## wheel and source archive in dist/, tried out of an empty folder: gallery, demo, notebook
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python tools/check_dist.py dist

image: dist ## a container image for CPUs from the wheel, see Dockerfile
	docker build --tag ncfm .

results: install ## rewrite the tables of README and docs from the files under results/
	$(BIN)/python -m tools.readme_tables

ablations: install ## every ablation, three sets a variant, on CIFAR-10 at a reduced schedule; hours
	$(BIN)/ncfm compare cifar10 --ipc 10 --recipe cifar10-ipc10-reduced --seeds 3 --out runs/ablations \
		--ablation minmax,alpha,discrepancy,calibration,factor,family,ratio,frequencies,normalisation,correction,teachers,bandwidth,weight,adversary \
		--results results/ablations.csv

bench: install ## time an iteration and its stages against the published way of computing, on CIFAR-10
	$(BIN)/python -m benchmarks.step --results results/cost.csv
	$(BIN)/python -m benchmarks.profile --results results/profile.csv
	$(BIN)/python -m benchmarks.students --results results/cost.csv
	$(BIN)/python -m benchmarks.kernels --results results/cost.csv

bench-scaling: install ## time and memory against classes, IPC, image size, real batch, frequencies
	$(BIN)/python -m benchmarks.scaling --results results/cost.csv --plot docs/images/scaling.png

bench-gpu: install ## the same on a GPU: CIFAR-10 and CIFAR-100 at IPC 10, 1024 (all 500) real images a class
	FORCE=1 ROWS=results PYTHON=$(BIN)/python bash tools/gpu_check.sh bench

bench-peers: install ## an iteration of NCFM against one of DATM at IPC 1, 10 and 50, in turns
	$(BIN)/python -m benchmarks.peers --results results/cost.csv

bench-memory: install ## 300,000 images of 1000 classes mapped or in memory; first and second use of CIFAR-10
	$(BIN)/python -m benchmarks.beyond_memory --results results/cost.csv
	$(BIN)/python -m benchmarks.loading --results results/cost.csv

planned: install ## predict how long the rows that have not been run would take here; rows go to results/planned.csv
	$(BIN)/python -m benchmarks.rows --results results/planned.csv

faults: install ## kill, stop, crowd, starve and cut runs hundreds of times; rows go to results/faults.csv
	$(BIN)/python -m benchmarks.faults --results results/faults.csv

fuzz: install ## give damaged and made-up files to everything that reads files, 250,000; rows go to results/fuzz.csv
	$(INSTALL) -e ".[fuzz]"
	$(BIN)/python -m benchmarks.fuzz --results results/fuzz.csv
	$(BIN)/python -m benchmarks.fuzz_guided --results results/fuzz.csv

ranks: install ## several ranks beside one process: whether they agree, and how fast; rows go to results/ranks.csv
	$(BIN)/python -m benchmarks.ranks --results results/ranks.csv
	$(BIN)/python -m benchmarks.ranks --precision bfloat16 --results results/ranks.csv
	$(BIN)/python -m benchmarks.ranks --scaling --results results/ranks.csv

soak: install ## two hours of one process, its memory and open files watched; rows go to results/soak.csv
	$(BIN)/python -m benchmarks.soak --results results/soak.csv --plot docs/images/soak.png

clean: ## remove the environments and caches
	rm -rf $(VENV) .venv-minimum .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
