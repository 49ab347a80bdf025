# Everything here needs Go, git and make, and nothing else: `make help` says what there is.
# The first `make test`, `e2e` or `demo` on a machine builds a Kubernetes control plane (ten to fifteen minutes on two
# cores, into ~/.cache/kubectl-ml); after that it starts in seconds.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build install demo demo-down test vet test-go test-sandbox lint lint-files lint-go lint-docs e2e bench docs clean programs bin/kubectl-ml bin/sandbox

GO       ?= go
MODULE   := github.com/kubectl-ml/kubectl-ml
PACKAGES := ./...
TESTARGS ?=

# Releases are static and name no folder of the machine they were built on. Tests and linters use the same flags,
# so that every package is compiled once.
export CGO_ENABLED := 0
export GOFLAGS     := -trimpath
export GOWORK      := off

VERSION ?= $(or $(shell git describe --tags --match 'v*' --dirty 2>/dev/null),v0.0.0-dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
# The commit's date, not today's: the same commit builds the same bytes.
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS  = -s -w -X $(MODULE)/plugin.version=$(VERSION) -X $(MODULE)/plugin.commit=$(COMMIT) -X $(MODULE)/plugin.date=$(DATE)

# The sandbox is a module of its own and builds its programs with Go's own flags; so does its own build here.
SANDBOX_GO := cd cmd/sandbox && GOFLAGS= $(GO)
DEMO       ?= .sandbox/demo
REAL_NODE  ?= auto
EXAMPLE    := docs/examples/house-prices

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(CURDIR)/bin/tools/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint

# The race detector needs a C compiler; without one the tests run without it. RACE= turns it off.
RACE ?= $(shell echo 'int main(void) { return 0; }' | $$($(GO) env CC) -x c -o /dev/null - 2>/dev/null && echo 1)
TEST  = $(if $(RACE),CGO_ENABLED=1 $(GO) test -race,$(GO) test)

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

build: bin/kubectl-ml bin/sandbox ## Build bin/kubectl-ml and bin/sandbox

bin/kubectl-ml:
	$(GO) build -buildvcs=false -ldflags '$(LDFLAGS)' -o $@ ./cmd/kubectl-ml

bin/sandbox:
	$(SANDBOX_GO) build -buildvcs=false -o '$(CURDIR)/$@' .

# Every program of the sandbox, with progress to look at: inside of `go test` the wait would be silent.
# Tests use controllers and stores besides, which take another eight minutes; the demo does without.
test-go e2e: WITH := jobset,kueue,registry,s3
programs: bin/sandbox
	@bin/sandbox build --with='$(WITH)' >/dev/null

install: bin/kubectl-ml ## Install kubectl-ml into PREFIX/bin, or where `go install` puts things
	@dir='$(if $(PREFIX),$(DESTDIR)$(PREFIX)/bin,$(or $(shell $(GO) env GOBIN),$(shell $(GO) env GOPATH)/bin))'; \
	mkdir -p "$$dir" && install -m 0755 bin/kubectl-ml "$$dir/kubectl-ml" && echo "installed $$dir/kubectl-ml"; \
	case ":$$PATH:" in *":$$dir:"*) echo "try: kubectl ml version --client" ;; \
	*) echo "put $$dir on your PATH, so that kubectl finds it as: kubectl ml" ;; esac

# `sandbox up` installs what a real node needs with apt-get, so only root on Debian gets one; kwok simulates the others.
# REAL_NODE=off does without, REAL_NODE=on insists.
status = bin/sandbox status --state '$(DEMO)' -o json | sed -n 's/^ *"$(1)": "\(.*\)",*$$/\1/p'
demo: build programs ## Start a cluster on this machine and run the house-prices example in it
	@set -e; \
	KUBECONFIG=$$(bin/sandbox up --state '$(DEMO)' --real-node='$(REAL_NODE)' --driver-binary bin/kubectl-ml); export KUBECONFIG; \
	node=$$($(call status,real)); file='$(EXAMPLE)/pipeline.yaml'; where="on the real node $$node"; \
	if [ -z "$$node" ]; then \
	  file='$(EXAMPLE)/simulated.yaml'; where="on simulated nodes, where nothing is executed"; fi; \
	echo "Running $$file $$where."; \
	bin/kubectl-ml apply -f "$$file"; \
	bin/kubectl-ml run -f "$$file" || echo "The run ended with exit code $$?."; \
	echo; \
	echo "This was $$file $$where. Go on with:"; \
	echo "  export KUBECONFIG=$$KUBECONFIG"; \
	echo "  export PATH=$(CURDIR)/bin:$$(dirname "$$($(call status,kubectl))"):\$$PATH"; \
	if [ -n "$$node" ]; then echo "  export KUBECTL_ML_DRIVER_IMAGE=docker.io/kubectl-ml/kubectl-ml:dev    # for kubectl ml run --detach"; fi; \
	echo "  kubectl ml runs"; \
	echo "  kubectl ml status @latest"; \
	echo "  kubectl ml run -f $$file --set lr=0.05"; \
	echo "Stop the cluster and remove what it made with:"; \
	echo "  make demo-down"

demo-down: bin/sandbox ## Stop the demo's cluster and remove what it made
	bin/sandbox down --state '$(DEMO)'

test: vet test-go test-sandbox ## Vet and test both modules; tests that need a cluster boot one (TESTARGS=-short leaves them out)

test-go: $(if $(findstring -short,$(TESTARGS)),,programs)
	$(TEST) -timeout 20m $(TESTARGS) $(PACKAGES)

vet:
	$(GO) vet $(PACKAGES)
	$(SANDBOX_GO) vet ./...

test-sandbox:
	$(SANDBOX_GO) test -short ./...

lint: lint-files lint-go lint-docs ## Check format, modules, generated files and code

lint-files:
	@files=$$(gofmt -l $(wildcard cmd docs kube krew plugin tui views)); \
	if [ -n "$$files" ]; then echo "these files are not formatted; run gofmt -w on them:"; echo "$$files"; exit 1; fi
	$(GO) mod tidy -diff
	$(SANDBOX_GO) mod tidy -diff

lint-go: $(GOLANGCI)
	$(GOLANGCI) run --allow-serial-runners $(PACKAGES)
	cd cmd/sandbox && GOFLAGS= $(GOLANGCI) run --allow-serial-runners --config '$(CURDIR)/.golangci.yml' ./...

# Writes the generated files and tells whether that changed any.
generated = find docs/reference kube/pipeline/schema.json -type f -exec cksum {} + 2>/dev/null | sort -k 3
lint-docs:
	@before=$$($(generated)); $(MAKE) --no-print-directory docs || exit 1; after=$$($(generated)); \
	if [ "$$before" != "$$after" ]; then \
	  echo "these generated files were out of date and are written anew; commit them:"; \
	  printf '%s\n' "$$before" "$$after" | sort | uniq -u | awk '{print "  " $$3}' | sort -u; exit 1; fi

$(GOLANGCI):
	GOBIN='$(@D)' $(GO) install -ldflags '-s -w' github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

# TestE2E is an ordinary test, not one behind a build tag, so that it compiles with every `make test`. It skips itself
# without E2E=1, because it takes minutes and, where it can, a real node.
# The sandbox itself is booted and taken down first: what it gets wrong would look like faults of the product.
e2e: build programs ## Boot the sandbox every way it can be, and drive whole runs in it
	$(SANDBOX_GO) test -count=1 -timeout 20m .
	E2E=1 $(GO) test ./cmd/kubectl-ml -run '^TestE2E' -count=1 -v -timeout 40m $(TESTARGS)

# TestBench measures against a cluster (BENCH=1, for the same reasons), the benchmarks measure code alone.
bench: build programs ## Measure: the pure code, then lists and runs at scale in a sandbox
	$(GO) test -run '^$$' -bench . -benchmem ./kube/... ./views/...
	BENCH=1 $(GO) test ./cmd/kubectl-ml -run '^TestBench' -count=1 -v -timeout 40m $(TESTARGS)

docs: ## Write docs/reference from the commands
	$(GO) run ./cmd/gen-docs

clean: ## Remove what was built here, and the demo's cluster (not bin/tools, not ~/.cache/kubectl-ml)
	@if [ -e '$(DEMO)' ]; then $(MAKE) --no-print-directory demo-down; fi
	rm -rf bin/kubectl-ml bin/sandbox dist .sandbox
