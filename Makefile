# Two commands are enough: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
ROOT  := $(CURDIR)
BIN   := $(ROOT)/bin
GO    ?= go
LOCAL := deploy/local
RUNARGS ?=

.PHONY: help run build test check lint workflowcheck e2e crash s3server histories bench backtest modules generate clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(BIN)/shivx $(BIN)/shivx-demo $(BIN)/shivx-local ## Start everything: Temporal, its Web UI, the agent and a demo service
	@exec bin/shivx-local -config $(LOCAL)/shivx.yaml -demo bin/shivx-demo $(RUNARGS)

build: $(BIN)/shivx $(BIN)/shivx-worker $(BIN)/shivx-demo $(BIN)/shivx-local ## Build every program into bin/

# Go's own build cache decides what is built anew.
.PHONY: $(BIN)/shivx $(BIN)/shivx-worker $(BIN)/shivx-demo $(BIN)/shivx-local
$(BIN)/shivx:
	@$(GO) build -o $@ ./starter
$(BIN)/shivx-worker:
	@$(GO) build -o $@ ./worker
$(BIN)/shivx-demo:
	@cd $(LOCAL) && $(GO) build -o $@ ./demo
$(BIN)/shivx-local:
	@test -e $@ || echo "building the embedded Temporal server; the first time this takes some minutes …"
	@cd $(LOCAL) && $(GO) build -o $@ .

# The same programs with crash points compiled in, for the tests alone.
.PHONY: $(BIN)/shivx-worker-crash $(BIN)/shivx-local-crash
$(BIN)/shivx-worker-crash:
	@$(GO) build -tags crashpoint -o $@ ./worker
$(BIN)/shivx-local-crash:
	@cd $(LOCAL) && $(GO) build -tags crashpoint -o $@ .

# A real S3 server for the tests of golden stores in buckets; without it they are left out.
s3server: ## Build the S3 server that tests of golden stores talk to; it takes minutes
	cd test/s3server && $(GO) build -o $(BIN)/versitygw github.com/versity/versitygw/cmd/versitygw

test: ## Run the tests of all packages with the race detector
	$(GO) test -race $$($(GO) list ./... | grep -v '/test/')
	cd plugins/examples/go-toggle && $(GO) test ./...
	cd $(LOCAL) && $(GO) test ./...

check: lint workflowcheck test ## What continuous integration runs before the end-to-end tests

lint: ## Formatting, vet and linters
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt"; exit 1; }
	cd tools && $(GO) build -o $(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	$(BIN)/golangci-lint run --timeout 15m ./...
	cd $(LOCAL) && $(BIN)/golangci-lint run --timeout 15m --config $(ROOT)/.golangci.yml ./...

workflowcheck: ## Look for what would make workflows differ when they are replayed
	cd tools && $(GO) build -o $(BIN)/workflowcheck go.temporal.io/sdk/contrib/tools/workflowcheck
	$(BIN)/workflowcheck -config workflowcheck.yaml ./workflows/...

e2e: build ## Heal real services, degrade a host under real pressure, ask by the OpenFeature SDK
	$(GO) test -count=1 -timeout 5m -v ./test/openfeature/...
	$(GO) test -count=1 -timeout 20m -v ./test/e2e/...

# CRASH=short runs a part of the cases, for continuous integration.
CRASH ?= full
crash: build $(BIN)/shivx-worker-crash $(BIN)/shivx-local-crash ## Kill worker, server, backups, restores and prunes; nothing may be lost, doubled or mixed
	CRASH=$(CRASH) $(GO) test -count=1 -timeout 30m -v $(if $(filter short,$(CRASH)),-skip TestServerAwayForLong) ./test/crash/...

histories: $(BIN)/shivx-local $(BIN)/shivx-worker-crash ## Record anew the histories that the tests of workflows/ replay
	$(GO) test -count=1 -timeout 10m ./test/record -out $(ROOT)/workflows/testdata/histories

# Peers are measured where they are installed, as the Debian packages monit, prometheus-node-exporter,
# netdata-core, openssl, coreutils, aide, fail2ban and sshguard. What is blocked by nftables needs root and iproute2.
bench: build ## Measure, beside peers in the same run
	$(GO) test -count=1 -timeout 30m -run '^$$' -bench . -benchtime 2s ./internal/ledger ./internal/history ./internal/vitals ./internal/resilience ./internal/api ./forecasting
	$(GO) test -count=1 -timeout 30m -v -run TestAMillionSources -bench . -benchtime 1s ./internal/guardian/detect
	$(GO) test -count=1 -timeout 30m -v -run Bench ./test/peers/...

# The data is no part of the project: its licences differ. ShivX's trees were fitted on all leaks and on
# the train parts of the metrics, so of leaks the second command counts: it leaves a quarter out each time.
backtest: $(BIN)/shivx ## Judge forecasts on ../shared/data beside peers, and on what was held out
	@$(BIN)/shivx forecast backtest ../shared/data
	@$(GO) run ./test/fit -data ../shared/data -check

modules: build ## List the modules in each program; `govulncheck -mode binary bin/NAME` reads the same
	@$(GO) version -m $(BIN)/shivx $(BIN)/shivx-worker $(BIN)/shivx-local | awk '$$1 ~ /^\// || $$1 == "dep" || $$1 == "mod"'

generate: ## Generate the plugin protocol and the configuration's schema anew
	$(GO) generate ./...

clean: ## Remove what was built; what the demo wrote stays in var/
	rm -rf $(BIN)
