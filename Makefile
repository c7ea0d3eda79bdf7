# Targets for work on nano; make help lists them.
TOOL := GOWORK=off go tool -modfile=$(CURDIR)/tools/go.mod
MODULES := . benchmark cmd/nano examples examples/demo/mahjong examples/lua lua metrics/prometheus trace/otel interop \
	benchmark/peers/wire benchmark/peers/gws benchmark/peers/nbio

.DEFAULT_GOAL := help
.PHONY: help test short race lint fmt words vuln fuzz ci release bench bench-scale bench-cluster bench-state bench-million bench-peers bench-check bench-io bench-micro

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## run the tests of the workspace
	go test work

short: ## run the tests that need no browser, no processes and little time, about a minute and a half
	go test -short work

race: ## run the tests under the race detector, one package at a time
	go test -race -p 1 work

lint: ## run go vet and the linters of .golangci.yml in every module
	@for dir in $(MODULES); do (cd $$dir && GOWORK=off go vet ./... && $(TOOL) golangci-lint run -c $(CURDIR)/.golangci.yml) || exit 1; done

fmt: ## format the Go code
	$(TOOL) golangci-lint fmt

words: ## list old names and phrases that are left
	bash .ci/words

vuln: ## look for known vulnerabilities; needs the network
	@for dir in $(MODULES); do (cd $$dir && $(TOOL) govulncheck ./...) || exit 1; done

fuzz: ## run every fuzz target for TIME each (10s)
	bash .ci/fuzz $(or $(TIME),10s)

ci: ## run everything that has to pass
	bash .ci/run

release: ## tag all modules at VERSION=v1.2.3; DRY=1 only tries
	bash .ci/release "$(VERSION)" $(if $(DRY),--dry-run)

bench: ## compare nano with bare servers, about 10 minutes; ARGS="-cases tcp -rounds 5"
	go run ./benchmark/bench $(ARGS)

bench-scale: ## many connections, a large room, several cores, a storm of resumes, about 3 minutes
	go run ./benchmark/scale $(ARGS)

bench-cluster: ## a gate and a backend against one node and a bare TCP link, about 4 minutes
	go run ./benchmark/cluster $(ARGS)

bench-state: ## state of a room against @colyseus/schema, at most 12 minutes; ARGS="-cases Map"
	cd benchmark/state && npm ci --no-audit --no-fund --silent
	go run ./benchmark/state $(ARGS)

bench-million: ## a million clients on this machine, with 15 GiB of free memory; ARGS="-n 20000 -ws"
	go run ./benchmark/million $(ARGS)

bench-peers: ## nano beside other servers; ARGS="-nano CHECKOUT -pitaya CHECKOUT"
	go run ./benchmark/peers $(ARGS)

bench-check: ## what a message costs beside BASE=commit, or without BASE beside benchmark/check/counts.json
	go run ./benchmark/check $(if $(BASE),-base "$(BASE)") $(ARGS)

bench-io: ## the classic benchmark of this protocol: 1,000 clients for 15 s
	cd benchmark/io && go test -v -tags benchmark

bench-micro: ## run every Go benchmark
	go test -run '^$$' -bench . work
