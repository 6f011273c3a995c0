# Every everyday task of this workspace; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
DIST := $(CURDIR)/target/dist
TOOLS := $(CURDIR)/.tools
DEBS := $(CURDIR)/target/deb
VENV := $(CURDIR)/target/venv
ARCH := $(shell uname -m)
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.1
VHOST_DEVICE_VSOCK_VERSION := 0.3.0

# Where the shim must not depend on the image's libc: musl, one static file. RUSTFLAGS of the caller
# would silently replace the linker flags that .cargo/config.toml sets for that target.
SHIM_TARGET := $(ARCH)-unknown-linux-musl
SHIM_FALLBACK := $(ARCH)-unknown-linux-gnu
CARGO_SHIM := env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS $(CARGO)
ARM_TARGET := aarch64-unknown-linux-musl

.PHONY: help build deb test check demo bench bench-neighbours bench-starts vectors fuzz deps clean daemons shim shim-aarch64 cargo-deny cargo-fuzz vhost-device-vsock

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: daemons shim ## Build the finished programs into target/dist
	@ls -l $(DIST) | awk 'NR > 1 { printf "%10d bytes  target/dist/%s\n", $$5, $$9 }'

# With DIST=FOLDER from programs that are there already; with DEB_VERSION=VERSION as another version.
deb: $(if $(filter command,$(origin DIST)),,build) ## Build the Debian packages into target/deb
	@tests/requirements.sh packages
	packaging/build.sh $(DIST) $(DEBS) $(DEB_VERSION)
	@ls -l $(DEBS) | awk 'NR > 1 { printf "%10d bytes  target/deb/%s\n", $$5, $$9 }'

test: deps build shim-aarch64 deb $(VENV)/complete vhost-device-vsock ## Run every test, those with the programs of target/dist and the packages included
	MIOSA_BIN_DIR=$(DIST) MIOSA_DEB_DIR=$(DEBS) MIOSA_TEST_PYTHON=$(VENV)/bin/python MIOSA_TEST_POSTGRES=required \
	    $(CARGO) test --workspace --locked --no-fail-fast

check: cargo-deny ## Check format, lints, documentation, dependencies and licences
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --locked check --hide-inclusion-graph bans licenses sources

demo: build ## Show the whole path on this machine: a profile and a secret reach a running agent
	MIOSA_BIN_DIR=$(DIST) tests/demo.sh

bench: build ## Measure how soon a changed value is on a resource's socket
	MIOSA_BIN_DIR=$(DIST) $(CARGO) run --quiet --locked -p miosa-tests --example propagation

bench-neighbours: build ## Measure how much eight flooded sockets slow a ninth: fails beyond twice its idle p99
	MIOSA_BIN_DIR=$(DIST) $(CARGO) run --quiet --locked -p miosa-tests --example neighbours

bench-starts: build ## Measure how long starting an agent takes, between the inits that load nothing
	MIOSA_BIN_DIR=$(DIST) $(CARGO) run --quiet --release --locked -p miosa-tests --example starts

vectors: ## Make the conformance vectors of tests/vectors anew
	$(CARGO) run --quiet --locked -p miosa-tests --example make_vectors

fuzz: cargo-fuzz ## Feed every parser and state machine with inputs that a fuzzer makes up, FUZZ_SECONDS each (10)
	PATH="$(TOOLS)/bin:$$PATH" fuzz/run.sh $(FUZZ_TARGETS)

deps: ## Look for the programs that the tests use; as root, install those that are missing
	@tests/requirements.sh

# Programs that others wrote, to test against: the product's Python SDK.
$(VENV)/complete: tests/requirements.txt
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf $(TOOLS) fuzz/target

daemons:
	$(CARGO) build --release --locked -p miosa-control -p miosad
	@mkdir -p $(DIST)
	@install -m 0755 target/release/miosa-control target/release/miosad $(DIST)/

shim:
	@mkdir -p $(DIST)
	@if [ -d "$$(rustc --print target-libdir --target $(SHIM_TARGET))" ] \
	    || rustup target add $(SHIM_TARGET); then \
	    set -x; \
	    $(CARGO_SHIM) build --profile shim --locked -p miosa-exec --target $(SHIM_TARGET); \
	    install -m 0755 target/$(SHIM_TARGET)/shim/miosa-exec $(DIST)/; \
	else \
	    echo "warning: the target $(SHIM_TARGET) can't be added; miosa-exec is linked statically" \
	        "with glibc instead, which makes it larger and slower to start" >&2; \
	    set -x; \
	    RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
	        $(CARGO) build --profile shim --locked -p miosa-exec --target $(SHIM_FALLBACK); \
	    install -m 0755 target/$(SHIM_FALLBACK)/shim/miosa-exec $(DIST)/; \
	fi

# Its linker comes with the toolchain, so that no compiler for the other architecture is needed.
shim-aarch64: ## Build the shim for 64-bit ARM into target/dist-aarch64
	@mkdir -p $(DIST)-aarch64
	@[ -d "$$(rustc --print target-libdir --target $(ARM_TARGET))" ] || rustup target add $(ARM_TARGET)
	$(CARGO_SHIM) build --profile shim --locked -p miosa-exec --target $(ARM_TARGET)
	@install -m 0755 target/$(ARM_TARGET)/shim/miosa-exec $(DIST)-aarch64/

# Whichever cargo-deny is installed does; without one, a known one goes into .tools.
cargo-deny:
	@PATH="$(TOOLS)/bin:$$PATH" command -v cargo-deny >/dev/null \
	    || $(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) --locked --root $(TOOLS)

cargo-fuzz:
	@PATH="$(TOOLS)/bin:$$PATH" command -v cargo-fuzz >/dev/null \
	    || $(CARGO) install cargo-fuzz --version $(CARGO_FUZZ_VERSION) --locked --root $(TOOLS)

# The host's side of vsock, for machines of QEMU on a kernel without it.
vhost-device-vsock:
	@PATH="$(TOOLS)/bin:$$PATH" command -v vhost-device-vsock >/dev/null \
	    || $(CARGO) install vhost-device-vsock --version $(VHOST_DEVICE_VSOCK_VERSION) --locked --root $(TOOLS)
