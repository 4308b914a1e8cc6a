# SPDX-License-Identifier: AGPL-3.0-or-later
# A thin front to meson. The program lands in build/marchproxy; other build folders are build-*/.
#
#   make            optimised build with debug symbols
#   make run        the proxy in the foreground, with two demo upstreams (installs missing Debian packages)
#   make test       everything that must pass before a push (installs missing Debian packages)
#   make check      format, layers, clang-tidy, warnings as errors with gcc and clang
#   make nightly    long fuzzing, ThreadSanitizer, valgrind, big simulations, analyzers
#   make bench      measures against nginx, haproxy, h2o and nghttpx; writes bench/results/
#   make fuzz       TARGET=name SECONDS_EACH=60: libFuzzer on one target, or on all of them
#   make fmt        clang-format on all C files; reference pages of docs/ops/ from the source
#   make install    DESTDIR= PREFIX=/usr/local
SHELL := /bin/bash
.DEFAULT_GOAL := all
.PHONY: all run test check nightly fmt bench fuzz install clean

MESON   := /usr/bin/meson
PYTHON  := /usr/bin/python3
PREFIX  ?= /usr/local
DESTDIR ?=
TARGET  ?=
SECONDS_EACH ?= 60
BOOT    := tools/bootstrap-debian.sh

all: build/build.ninja
	@ninja -C build --quiet marchproxy marchctl

build/build.ninja:
	@$(BOOT) run
	@out=$$($(MESON) setup build --prefix=$(PREFIX) -Db_lto=true 2>&1) || { echo "$$out"; exit 1; }

# exec lets the script take the place of the shell, so that it sees the signals that make gets.
run:
	@$(BOOT) run
	@$(MAKE) --no-print-directory all
	@exec tools/run_demo.sh

test:
	@$(BOOT) run test
	@exec $(PYTHON) tools/run_tests.py push

nightly:
	@$(BOOT) run test check
	@exec $(PYTHON) tools/run_tests.py nightly

check:
	@$(BOOT) run check
	@exec tools/check.sh

fuzz:
	@$(BOOT) run check
	@exec $(PYTHON) tools/run_tests.py fuzz --target "$(TARGET)" --seconds $(SECONDS_EACH)

bench: all
	@$(BOOT) run bench
	@exec $(PYTHON) bench/run.py

fmt:
	@$(BOOT) check
	@git ls-files -z -- '*.c' '*.h' | xargs -0 -r clang-format-14 -i
	@$(PYTHON) tools/gen_ops_docs.py

install: build/build.ninja
	@$(MESON) configure build -Dprefix=$(PREFIX)
	@ninja -C build --quiet marchproxy marchctl packaging/marchctl packaging/_marchctl
	@DESTDIR="$(DESTDIR)" $(MESON) install -C build --no-rebuild

clean:
	@rm -rf build build-*/
