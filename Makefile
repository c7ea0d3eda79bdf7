# Targets for who works on nano; make help lists them.
LINT := go tool -modfile=tools/go.mod golangci-lint

.DEFAULT_GOAL := help
.PHONY: help test race lint fmt vuln fuzz ci bench bench-scale bench-cluster bench-state bench-io bench-micro

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## run the tests
	go test ./...

race: ## run the tests under the race detector
	go test -race ./...

lint: ## run go vet and the linters of .golangci.yml
	go vet ./...
	$(LINT) run

fmt: ## format the Go code
	$(LINT) fmt

vuln: ## look for known vulnerabilities; needs the network
	go tool -modfile=tools/go.mod govulncheck ./...

fuzz: ## run every fuzz target for TIME each (10s)
	bash .ci/fuzz $(or $(TIME),10s)

ci: ## run everything that has to pass
	bash .ci/run

bench: ## compare nano with bare servers, about 6 minutes; ARGS="-cases tcp -rounds 5"
	go run ./benchmark/bench $(ARGS)

bench-scale: ## many connections, a large room, rooms on several cores, about 2 minutes
	go run ./benchmark/scale $(ARGS)

bench-cluster: ## a gate and a backend against one node and a bare TCP link, about 2 minutes
	go run ./benchmark/cluster $(ARGS)

bench-state: ## state of a room against @colyseus/schema, at most 12 minutes; ARGS="-cases Map"
	cd benchmark/state && npm ci --no-audit --no-fund --silent
	go run ./benchmark/state $(ARGS)

bench-io: ## the classic benchmark of this protocol: 1,000 clients for 15 s
	cd benchmark/io && go test -v -tags benchmark

bench-micro: ## run every Go benchmark
	go test -run '^$$' -bench . ./...
