# `make` alone prints the targets. Anything longer than three lines is Rust, in tests/.
.DEFAULT_GOAL := help
.PHONY: help build check test corpus fuzz demo demo-check bench generate bless image tools

# Always the whole workspace: with --package, cargo chooses other features and builds the dependencies a second time.
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# The tests on the control plane wait more than they work.
export RUST_TEST_THREADS ?= 6

# Says what is missing and which command brings it.
define need
	@command -v $(1) >/dev/null || { echo "$(1) is missing; $(2)" >&2; exit 1; }
endef

help: ## print the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

tools:
	$(call need,cargo,on Debian: apt-get install rustup && rustup default 1.95)
	$(call need,git,on Debian: apt-get install git)
	$(call need,cc,on Debian: apt-get install gcc libc6-dev)

build: tools ## build target/debug/lockstep
	$(CARGO) build --locked --workspace

check: tools ## formatting, lints, documentation, licences and advisories
	$(CARGO) fmt --all --check && $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "cargo-deny is not installed: advisories were not checked (licences and bans are, by make test)"; fi

test: tools ## all tests, on a real control plane, and the demo's facts
	@tests/controlplane/build >/dev/null
	$(CARGO) test --locked --workspace --no-fail-fast
	$(MAKE) --no-print-directory demo-check

corpus: tools ## the 284 recorded cases of Kustomize, byte for byte
	@$(CARGO) test --locked --workspace --quiet --test corpus

fuzz: tools ## hostile inputs for the renderer: SECONDS (600) for each of three targets
	$(call need,cargo-fuzz,cargo install cargo-fuzz --locked; and rustup toolchain install nightly)
	crates/render/fuzz/run $(abspath $(TARGET))/fuzz $(or $(SECONDS),600)

demo: tools ## a cluster, a git server and Lockstep on this machine, to play with
	@tests/controlplane/build >/dev/null
	$(CARGO) build --locked --workspace --bins && $(TARGET)/debug/demo

demo-check: tools ## the same without a person: checks each fact on the API server
	@tests/controlplane/build >/dev/null
	$(CARGO) build --locked --workspace --bins && $(TARGET)/debug/demo --check

bench: tools ## measure: healing, push to live, 300 apps, memory at rest, rendering, applying
	@tests/controlplane/build >/dev/null
	$(CARGO) build --locked --release --workspace --bins && $(TARGET)/release/bench

generate: tools ## write manifests/crds/crds.yaml from the Rust types
	$(CARGO) build --locked --quiet --workspace --bins
	$(TARGET)/debug/lockstep crds > manifests/crds/crds.yaml.tmp && mv manifests/crds/crds.yaml.tmp manifests/crds/crds.yaml

bless: tools ## accept what recorded tests print now; read the diff
	BLESS=1 $(CARGO) test --locked --workspace --no-fail-fast
	git diff --stat

image: ## build the container image lockstep:0.1.0
	$(call need,docker,any builder of OCI images takes the same Dockerfile)
	docker build --tag lockstep:0.1.0 .
