# `make` lists the targets. Everything that they need is set up by contrib/dev/setup, once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
# Compiled modules are kept, but out of the tree: an interpreter that compiles all of kcompile first takes twice as long to start.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python
# Network namespaces need root. A user who isn't runs these through sudo; what they leave stays under .venv, out of the user's way.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo env CI='$(CI)' NO_COLOR='$(NO_COLOR)' \
    PYTHONPYCACHEPREFIX=$(CURDIR)/.venv/root/pycache \
    HYPOTHESIS_STORAGE_DIRECTORY=.venv/root/hypothesis )
PYTEST := $(AS_ROOT)$(PY) -m pytest $(if $(AS_ROOT),-o cache_dir=.venv/root/pytest)
BENCH := $(AS_ROOT)$(PY)
# make test ARGS='tests/unit -k plan'; ARGS=-n0 runs them one after the other
ARGS ?=
# a worker a CPU: tests/plugins/parallel.py
SPREAD := -n auto
COMPLETIONS := build/completion

.PHONY: help demo test test-changed test-ipvs test-tcg lint format types check fuzz-xdp bench conformance shell-ipvs sessions completion setup setup-test clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  demo, test, bench and conformance need root, for network namespaces: as another user they ask sudo."
	@echo "  shell-ipvs, and whatever runs in such a machine, needs no root."
	@echo "  All of it stays in namespaces of its own; no rule of this machine is touched."

demo: setup ## nginx and tomcat behind Services, step by step with kubectl, in every mode this kernel has
	@$(AS_ROOT)$(PY) examples/article/demo.py $(ARGS)

test: setup-test lint types ## everything: style, types, and every test (ARGS='tests/unit -k plan' narrows it)
	$(PYTEST) $(SPREAD) $(ARGS)

test-changed: setup-test lint types ## the tests that reach what is changed beside main, committed or not (ARGS='--list' only names them)
	@$(AS_ROOT)env PYTHONPATH=tests $(PY) -m harness.changed --run $(SPREAD) $(ARGS)

test-ipvs: setup-test ## of these, what has to do with mode ipvs
	$(PYTEST) -k "ipvs" $(ARGS)

test-tcg: setup-test ## mode ipvs among all others, in an emulated machine: some minutes more; needs qemu-system-x86
	$(PYTEST) -m tcg $(ARGS)

check: lint types ## what needs no root and takes a minute: style, types, unit and property tests
	$(PY) -m pytest $(SPREAD) tests/unit tests/property $(ARGS)

lint: setup-test ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: setup-test ## let ruff format, and fix what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: setup-test ## mypy --strict
	$(PY) -m mypy

conformance: setup-test ## real packets, every flow case, every mode (ARGS='--mode nftables')
	$(PYTEST) $(SPREAD) tests/conformance $(ARGS)

shell-ipvs: setup-test ## a shell, as root, under a kernel with IPVS (ARGS='-w DIR' keeps what is written in DIR; '--machine tcg')
	@PATH="$(CURDIR)/.venv/bin:$$PATH" PYTHONPATH=tests $(PY) -m uml --terminal --module ip_vs $(ARGS) -- bash -c \
	    'echo "Linux $$(uname -r) with IPVS, machine $$(uname -n). What you write here is lost at the end: exit, or ^D."; exec bash -i'

fuzz-xdp: setup-test ## a million random and truncated packets through the eBPF programs (ARGS='COUNT SEED')
	$(if $(AS_ROOT),$(AS_ROOT),env )PYTHONPATH=tests $(PY) -m bpf.fuzz $(ARGS)

.PHONY: test-vagrant shell-vagrant box clean-vagrant setup-vagrant

test-vagrant: build/vagrant/kcompile.box ## two nodes as virtual machines, emulated, in a network of their own (ARGS=KCOMPILE_CLIENT=yes: and a client)
	@vagrant/wheels >/dev/null
	@$(AS_ROOT)env $(ARGS) vagrant/test

shell-vagrant: build/vagrant/kcompile.box ## a shell whose `vagrant up` emulates, in a network of its own; all ends with the shell
	@vagrant/wheels >/dev/null
	@$(AS_ROOT)env $(ARGS) vagrant/private bash

build/vagrant/kcompile.box: vagrant/box vagrant/provision/packages.txt | setup-vagrant
	@mkdir -p build
	@$(AS_ROOT)vagrant/box

box: setup-vagrant ## a box for Vagrant and libvirt, from Debian's packages alone: build/vagrant/kcompile.box
	@mkdir -p build
	@$(AS_ROOT)vagrant/box

clean-vagrant: ## remove the box, and the disks that killed virtual machines left
	$(AS_ROOT)rm -rf --one-file-system build/vagrant

bench: setup-test ## every stage and peer, and connect latency: 20 minutes (ARGS='--scale 1000x10' is quicker), then a table
	$(BENCH) -m pytest bench/suites -p no:cacheprovider --benchmark-only --benchmark-quiet --benchmark-json=bench/results/suites.json $(ARGS)
	$(BENCH) -m pytest bench/trials -p no:cacheprovider
	$(BENCH) -m kcompile_bench.latency --json bench/results/latency.json >/dev/null
	@$(BENCH) -m kcompile_bench.report
	@$(BENCH) -m kcompile_bench.baseline

sessions: setup-test ## write what is really printed into the sessions of README.md and docs/howto
	$(if $(AS_ROOT),$(AS_ROOT),env )UPDATE_DOCUMENTS=1 $(PY) -m pytest -q tests/examples/test_documents.py

completion: setup ## shell completion for bash, zsh and fish, into build/completion/
	@mkdir -p $(COMPLETIONS)
	@set -e; for shell in bash zsh fish; do \
	    $(PY) -m kcompile completion $$shell >$(COMPLETIONS)/kcompile.$$shell; echo "$(COMPLETIONS)/kcompile.$$shell"; done

setup: ## packages and .venv, enough to run kcompile
	@contrib/dev/setup run

setup-test: ## packages and .venv, enough to test it
	@contrib/dev/setup test

setup-vagrant: ## packages and .venv, enough to test it in virtual machines
	@contrib/dev/setup vagrant

clean: ## remove .venv, caches and build/
	$(AS_ROOT)rm -rf .venv .nox .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks build dist
	$(AS_ROOT)find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
