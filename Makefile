# make install   a virtual environment with everything pinned (the second time takes no time)
# make serve     the server; MODEL=directory or Hub id, PORT=8000, ARGS="--max-rows 16"
# make test      the tests; ARGS="-k haproxy"
# make fuzz      random requests in company against themselves alone, then against generate(); ARGS="--seconds 600"
# make check     format, lint, types, import rules; of the kernels, format, warnings and clang-tidy
# make test-sanitized   the tests of the kernels with what finds bad memory, undefined behaviour and data races
# make bench     this server beside its peers, into docs/performance.md; goes on where it was cut off; ARGS="--fresh"
# make bench-quick   beside model.generate() alone, in a few minutes
# make bench-modes   every decoding mode beside model.generate(); ARGS="--legacy-python PATH" for those of transformers 4.x
# make peers     builds the peers under PEERS=.peers; ARGS="--only openvino"
# make lock      resolve the dependencies of pyproject.toml anew into the lock files
#
# TORCH_INDEX=URL adds an index for other builds of torch, TORCH=2.13.0 is the version `make lock` starts from.

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= 2.13.0
MODEL  ?=
PORT   ?=
ARGS   ?=
PEERS  ?= .peers

BIN     := $(VENV)/bin
EVALS   := $(VENV)/evals
PIP      = $(1)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
KERNELS := engine/native/src
SOURCES := beamhouse config schemas client engine server training benchmarks tests

.DEFAULT_GOAL := help
.PHONY: help install install-dev tools serve test test-slow test-sanitized fuzz check check-kernels format bench bench-quick bench-modes peers lock wheel clean

help:
	@sed -n '/^[^#]/q; /^$$/q; s/^# \{0,1\}//p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	$(call PIP,$(VENV)) --no-deps -r requirements.lock
	$(call PIP,$(VENV)) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(call PIP,$(VENV)) --no-deps -r requirements-dev.lock
	@touch $@

# What the evaluations bring is out of the way of all other tests: on the path of the one that asks for it alone.
$(EVALS)/.installed: requirements-evals.lock $(VENV)/.installed-dev
	rm -rf $(EVALS)
	$(call PIP,$(VENV)) --no-deps --target $(EVALS) -r requirements-evals.lock
	@touch $@

# The kernels are compiled here rather than at the first start; without a compiler torch does their work, slower.
install: $(VENV)/.installed
	@$(BIN)/python -m beamhouse.engine.native.compiler >/dev/null || true

install-dev: $(VENV)/.installed-dev $(EVALS)/.installed

# The tests drive a real HAProxy, run the README's curl commands and compile the kernels; root on Debian gets all here.
tools:
	@command -v haproxy >/dev/null && command -v curl >/dev/null && command -v c++ >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  apt-get install -y -qq haproxy curl g++ >/dev/null; } || \
	  echo "haproxy, curl or g++ is missing: their tests will fail; install them with your package manager" >&2

serve: install
	$(BIN)/beamhouse serve $(MODEL) $(if $(PORT),--port $(PORT)) $(ARGS)

test: install-dev tools
	$(BIN)/python -m pytest $(ARGS)

test-slow: install-dev tools
	$(BIN)/python -m pytest -m "not gpu" $(ARGS)

# Both play on to the end of their time; what differs is printed with the command that shows it again.
FUZZ := $(BIN)/python -m tests.fuzz
fuzz: install-dev
	@$(FUZZ).company $(ARGS); company=$$?; $(FUZZ).library $(ARGS) && exit $$company

test-sanitized: install-dev tools
	$(BIN)/python -m tests.engine.native.sanitized

check: install-dev check-kernels
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

# Once for each width of vectors, since each compiles other branches. On the machine of a user, whose compiler nobody
# knows, warnings are none of these: there the kernels are compiled without them.
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wcast-align -Wcast-qual \
  -Wstrict-aliasing=2 -Werror
WIDEST   := $(if $(filter x86_64,$(shell uname -m)),-march=x86-64-v4 -mavx512bf16 -mavx512vnni)
WIDTHS   := $(if $(WIDEST),"$(WIDEST)" -march=x86-64-v3) ""
KERNEL_SOURCES := $(wildcard $(KERNELS)/*.h $(KERNELS)/*.cpp tests/engine/native/*.cpp benchmarks/machine/*.cpp)
check-kernels: install-dev tools
	$(BIN)/clang-format --dry-run --Werror $(KERNEL_SOURCES)
	for width in $(WIDTHS); do \
	  c++ -std=c++20 -fsyntax-only $(WARNINGS) $$width $(KERNELS)/api.cpp tests/engine/native/kernels_test.cpp || exit 1; done
	$(BIN)/clang-tidy --quiet $(KERNELS)/api.cpp -- -std=c++20 $(WIDEST)

format: install-dev
	$(BIN)/clang-format -i $(KERNEL_SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# Peers that are not there are told with the reason; `make peers` builds them.
bench: install-dev
	$(BIN)/python -m benchmarks.versus --peers $(PEERS) $(ARGS)
	$(BIN)/python -m benchmarks.versus --peers $(PEERS) --model builtin $(ARGS)
	$(BIN)/python -m benchmarks.publish $(PEERS)/runs/llama.jsonl
	$(BIN)/python -m benchmarks.publish $(PEERS)/runs/builtin.jsonl

QUICK := --fresh --sides beamhouse generate --loads streams-1 streams-8 prefill
bench-quick: install-dev
	$(BIN)/python -m benchmarks.versus --peers $(PEERS) --out $(PEERS)/runs/quick-builtin.jsonl --model builtin $(QUICK) $(ARGS)
	$(BIN)/python -m benchmarks.versus --peers $(PEERS) --out $(PEERS)/runs/quick-small.jsonl --model small $(QUICK) $(ARGS)

bench-modes: install-dev
	$(BIN)/python -m benchmarks.modes $(ARGS)

peers: install-dev
	$(BIN)/python -m benchmarks.peers.build --peers $(PEERS) $(ARGS)

# A fresh environment resolves the newest versions that pyproject.toml allows; what it holds becomes the lock. The
# build label of torch (+cpu, +cu…) is dropped, so that each machine takes the build its own index offers. One of the
# clients that the tests use forbids today's huggingface_hub and works with it all the same.
lock:
	rm -rf .lock && $(PYTHON) -m venv .lock
	$(call PIP,.lock) setuptools torch==$(TORCH)
	$(call PIP,.lock) --no-build-isolation --editable '.[grammar]'
	.lock/bin/python -m pip freeze --all --exclude pip --exclude beamhouse | sed 's/+[a-z0-9]*$$//' | LC_ALL=C sort > requirements.lock
	$(call PIP,.lock) --no-build-isolation --editable '.[grammar,dev]'
	$(call PIP,.lock) --no-deps text-generation==0.7.0
	{ echo '-r requirements.lock'; .lock/bin/python -m pip freeze --all --exclude pip --exclude beamhouse | sed 's/+[a-z0-9]*$$//' \
	  | LC_ALL=C sort | LC_ALL=C comm -13 requirements.lock -; } > requirements-dev.lock
	$(call PIP,.lock) --no-build-isolation --editable '.[grammar,dev,evals]'
	LC_ALL=C sort requirements.lock requirements-dev.lock > .lock/known
	.lock/bin/python -m pip freeze --all --exclude pip --exclude beamhouse | sed 's/+[a-z0-9]*$$//' \
	  | LC_ALL=C sort | LC_ALL=C comm -13 .lock/known - > requirements-evals.lock
	rm -rf .lock

wheel: install
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) .lock build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -exec rm -rf {} +
