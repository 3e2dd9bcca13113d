# Two commands and nothing else are needed on a fresh machine: `make demo` and `make test`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-kafka chaos chaos-selftest lint docs helm sbom audit clean

PYTHON ?=
ARGS ?=
EVENTS ?= 1000000
FAULTS ?= 200
SEED ?= 1
VENV := .venv
BIN := $(VENV)/bin
HELM_VERSION := v3.22.0
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST := $(BIN)/python -m pytest

help:
	@echo "make demo        set everything up and run the whole stream on a real shop log"
	@echo "                 (ARGS='...' goes to nextclick demo; see nextclick demo --help)"
	@echo "make test        set everything up and run every check that needs no Kafka of its own"
	@echo "make test-kafka  the same stream on Apache Kafka; needs Java 17 or later and Maven"
	@echo "                 (ARGS='...' goes to pytest, here and in make test)"
	@echo "make chaos       a log under SIGKILLs, restarts and cut connections, and the proof that nothing"
	@echo "                 was lost or doubled (EVENTS=$(EVENTS) FAULTS=$(FAULTS) SEED=$(SEED))"
	@echo "make chaos-selftest"
	@echo "                 the same with workers that are broken on purpose: each must turn it red"
	@echo "make lint        ruff, mypy and the import floors"
	@echo "make docs        write the generated pages of docs/ anew"
	@echo "make helm        build Helm with Go, for the tests of the chart, where there is none"
	@echo "make sbom        write sbom.json, the CycloneDX bill of all packages in $(VENV)"
	@echo "make audit       known vulnerabilities of the pinned packages, by pip-audit"
	@echo "make clean       remove what demo, tests and builds left; $(VENV) stays"
	@echo "PYTHON=...       the interpreter for $(VENV), else the newest of 3.13, 3.12, 3.11"

demo: $(VENV)/.demo-installed
	$(BIN)/nextclick demo $(ARGS)

test: lint
	$(BIN)/python -m stream.documents --check
	$(PYTEST) $(ARGS)

# The tests that need Apache Kafka, and those that know a broker by nothing but its address.
test-kafka: $(VENV)/.dev-installed
	$(BIN)/python -m tests.maven .nextclick/kafka
	NEXTCLICK_TEST_BACKEND=kafka $(PYTEST) -m "kafka or either_backend" $(ARGS)

# On Apache Kafka where it can be had, else on the embedded broker, which is never killed.
chaos: $(VENV)/.dev-installed
	-$(BIN)/python -m tests.maven .nextclick/kafka
	$(BIN)/python -m tests.chaos.run --events $(EVENTS) --faults $(FAULTS) --seed $(SEED) $(ARGS)

chaos-selftest: $(VENV)/.dev-installed
	-$(BIN)/python -m tests.maven .nextclick/kafka
	$(BIN)/python -m tests.chaos.selftest $(ARGS)

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/.dev-installed
	$(BIN)/python -m stream.documents

helm: .nextclick/bin/helm-$(HELM_VERSION)

# From source, by Go's module proxy and checksum database: some minutes, once.
.nextclick/bin/helm-$(HELM_VERSION):
	GOBIN=$(CURDIR)/$(@D) go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)
	@ln -f $(@D)/helm $@

sbom: $(VENV)/.dev-installed
	$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml \
	    --output-reproducible --output-file sbom.json

# Ends with 75 where the advisory service could not be asked: then nothing has been audited.
audit: $(VENV)/.dev-installed
	$(BIN)/python -m tests.audit

clean:
	rm -rf .nextclick sbom.json build dist ./*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find stream serving model tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An interpreter counts only if it runs: a version manager leaves names on PATH with nothing
# behind them. venv without ensurepip (Debian without python3-venv) makes no environment.
$(VENV)/pyvenv.cfg:
	@suitable='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; \
	bare=; \
	for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	    "$$python" -c "$$suitable" >/dev/null 2>&1 || continue; \
	    if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	        echo "$(VENV) is made with $$("$$python" --version) ($$(command -v "$$python"))"; \
	        exec "$$python" -m venv --clear $(VENV); \
	    fi; \
	    bare=$$python; \
	done; \
	if [ -n "$$bare" ]; then \
	    echo "$$bare has no ensurepip, so it cannot make $(VENV);" \
	        "install it (on Debian and Ubuntu: apt-get install python3-venv)" >&2; \
	else \
	    echo "no Python 3.11, 3.12 or 3.13 that runs was found as:" \
	        "$(or $(PYTHON),python3.13 python3.12 python3.11 python3);" \
	        "install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	fi; \
	exit 1

# The build backend comes from constraints.txt too, hence no build isolation.
define install
	@$(BIN)/python -c '' || { echo "the interpreter behind $(VENV) is gone;" \
	    "remove it (rm -rf $(VENV)) and run make again" >&2; exit 1; }
	@echo "installing nextclick[$(1)] with the versions of constraints.txt;" \
	    "on x86-64, PyTorch and its CUDA libraries are about 3 GB, once"
	$(PIP) install --constraint constraints.txt setuptools
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[$(1)]'
endef

$(VENV)/.demo-installed: pyproject.toml constraints.txt $(VENV)/pyvenv.cfg
	$(call install,demo)
	@touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt $(VENV)/pyvenv.cfg
	$(call install,dev)
	@touch $(VENV)/.demo-installed $@
