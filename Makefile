# make demo: sets up .venv, runs the main job.   make test: sets up .venv with the developers' tools, passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(VENV)/.demo
# What pip installs of PyTorch first. Another build: TORCH="torch --index-url ADDRESS".
TORCH ?= torch==2.13.0
# Processes that the tests run in.
JOBS ?= 2
# Pythons that wheels are made for.
PYTHONS ?= python3.11 python3.12 python3.13

.PHONY: demo layout test test-random coverage lint types site slow rtl-full rtl-coverage fpga soak mutants native-sanitize fuzz wheel-test clean

demo: $(DEMO)
	$(BIN)/firstspike demo --out demo --json demo/record.json

test: lint types
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q

# Lines of the package that the suite runs; half as long again.
coverage: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term:skip-covered -q

# The same suite with examples nobody has seen yet.
test-random: $(STAMP)
	HYPOTHESIS_PROFILE=random $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

# The documentation as a site, in build/site; `make site SITE=serve` shows it and follows changes.
site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(or $(SITE),build)

# What takes minutes: whole networks in RTL, proofs, mutants, synthesis.
rtl-full: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[formal]"
	$(BIN)/python -m pytest -m slow tests/rtl tests/verify

# Line and toggle coverage of the RTL by block, over random networks of every parameter set.
rtl-coverage: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m verify.rtl_coverage

# A board's bitstream for the network NET (after `make demo`: the digits' own), and the board simulated as a netlist of its cells.
NET ?= demo/digits.safetensors
fpga: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[fpga]"
	$(BIN)/firstspike rtl fpga $(NET) --data digits --simulate --out build/fpga --json build/fpga.json
	$(BIN)/python -m pytest -m slow tests/verify/test_board.py

# The native engine under the address, undefined-behaviour and thread sanitizers.
native-sanitize: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[native]"
	sh scripts/sanitize.sh $(BIN)/python

# Fuzzing of plan building and the native engine for SECONDS in JOBS processes; needs clang.
SECONDS ?= 60
fuzz:
	sh scripts/fuzz.sh $(SECONDS) $(JOBS)

# A manylinux wheel for each Python there is, tried in an empty environment outside the checkout; left in build/wheels.
wheel-test:
	sh scripts/wheel_test.sh $(PYTHONS)

# A lane placed, routed and checked in IHP's open 130 nm kit (docs/how-to/layout.md), and its energy with wires on a layer
# of the trained VGG-16. PDK is the kit's checkout; another Liberty file of its cells: LIBERTY=FILE.
PDK ?= IHP-Open-PDK
LIBERTY ?= $(PDK)/ihp-sg13g2/libs.ref/sg13g2_stdcell/lib/sg13g2_stdcell_typ_1p20V_25C.lib
layout: $(STAMP)
	$(BIN)/firstspike rtl layout --pdk $(PDK) --liberty $(LIBERTY) --out build/lane
	$(BIN)/python -m studies.lane_layout build/lane --liberty $(LIBERTY) \
		--network zoo/vgg16-cifar10.safetensors --data cifar10 --layer conv2_1 --json build/lane/energy.json

# The project's own campaign: mutated files, random networks, full disks, kills, forks. It goes on where it was stopped
# (tests/soak.jsonl); hours, seeds as printed. SOAK="models --count 5000" runs a part of it.
soak: $(STAMP)
	cd tests && ../$(BIN)/python -m soak $(SOAK)

# Faults put into rtl/, verify/, compiler/, calibration and teachers one at a time; survivors are listed. MUTANTS is how many are drawn.
MUTANTS ?= 20
mutants: $(STAMP)
	$(BIN)/python scripts/mutants.py --count $(MUTANTS)

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# What the demo needs: PyTorch, Lightning, scikit-learn's digits.
$(DEMO): pyproject.toml CMakeLists.txt $(wildcard src/native/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[train]"
	touch $@

# What the developers need besides.
$(STAMP): $(DEMO)
	$(BIN)/python -m pip install --quiet --editable ".[dev,fpga,rtl]"
	touch $@ $(DEMO)

clean:
	rm -rf $(VENV) build demo
