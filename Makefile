# SPDX-License-Identifier: BSD-3-Clause
# The commands of the project; Meson and Ninja do the building. `make help` lists them.
#
# Variables: PREFIX and DESTDIR (install), BENCH=AREA (bench), KERNEL=6.1|6.12 (demo, guest), DEMO=paravirt|identity (demo),
# ONLY=PHASE (test),
# VIADUCT_BUILD (the build directory), VIADUCT_QEMU (a QEMU to use), VIADUCT_ACCEL (tcg, kvm).

MAKEFLAGS += --no-print-directory
PREFIX ?= /usr/local
DESTDIR ?=
VIADUCT_BUILD ?= $(CURDIR)/build
export VIADUCT_BUILD

.DEFAULT_GOAL := all
.PHONY: all help demo test bench install qemu guest format lint clean distclean

all: ## build everything
	@tools/setup --build
	@tools/build

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## boot a stock guest whose disk Viaduct passes through, and compare the data
	@tools/demo $(if $(KERNEL),--kernel $(KERNEL)) $(if $(filter identity,$(DEMO)),--identity)

test: ## run every check; the last line is the count
	@tools/test $(if $(ONLY),--only $(ONLY))

bench: ## measure; BENCH=AREA for one area
	@tools/setup --bench
	@BUILD=$$(tools/build --variant release) && export BUILD && bench/run $(BENCH)

install: ## install under PREFIX (default /usr/local), below DESTDIR if given
	@tools/setup --build
	@VIADUCT_BUILD=$(VIADUCT_BUILD) tools/build --variant release >/dev/null
	@meson configure $(VIADUCT_BUILD)-release --prefix $(abspath $(PREFIX))
	@DESTDIR=$(DESTDIR) meson install -C $(VIADUCT_BUILD)-release

qemu: ## find or fetch a QEMU that has vfio-user-pci
	@tools/qemu

guest: ## fetch a Debian kernel and build the user land that test guests boot
	@tools/setup --demo
	@tools/kernel $(KERNEL)
	@tools/initramfs $(if $(KERNEL),--kernel $(KERNEL))

format: ## format the C sources in place
	@tools/format

lint: ## format check, linters, layers, man pages, scripts
	@tools/setup --test
	@tools/test --only hygiene

clean: ## remove what was built
	@rm -rf -- '$(VIADUCT_BUILD)' '$(VIADUCT_BUILD)'-*

distclean: clean ## and what was fetched
	@rm -rf -- .cache
