# `go run ./cmd/deltran-bus` and `go test ./...` do everything without make; this is for the rest. Try `make help`.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN     ?= bin
ROUNDS  ?=
ARGS    ?=

.PHONY: help build test race lint fuzz cross smoke interop powercut powercut-disk crash fuzzwire deploy-check bench bench-startup ci clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

build: ## build bin/deltran-bus
	go build -tags urfave_cli_no_docs -trimpath -ldflags "-s -w -X main.release=$(VERSION)" -o $(BIN)/deltran-bus ./cmd/deltran-bus

test: ## run the tests
	go test ./...

race: ## run the tests with the race detector
	go test -race ./...

lint: ## format, vet, staticcheck, known vulnerabilities, modules, shell scripts
	scripts/lint

fuzz: ## run every fuzzer for a short while (FUZZTIME=10s each)
	scripts/fuzz

cross: ## build for the other systems
	scripts/cross

smoke: build ## look at the built binary as a new user does
	go run ./scripts/smoke -bus $(BIN)/deltran-bus

interop: build ## the specification's examples with real clients (nats.go, nats.js, C, natscli, curl)
	go run ./scripts/interop -bus $(BIN)/deltran-bus -bin $(BIN)

powercut: build ## take the power from the bus at every file operation and at random (ROUNDS=20, ARGS='-thorough')
	go run ./scripts/powercut -bus $(BIN)/deltran-bus -bin $(BIN) -cuts $(or $(ROUNDS),20) $(ARGS)

powercut-disk: build ## the same on ext4 and xfs, stopped by the kernel (ROUNDS=3)
	go run ./scripts/powercut disk -bus $(BIN)/deltran-bus -bin $(BIN) -cuts $(or $(ROUNDS),3) $(ARGS)

crash: build ## kill the bus under load and while it starts (ROUNDS=10)
	go run ./scripts/crash -bus $(BIN)/deltran-bus -bin $(BIN) -rounds $(or $(ROUNDS),10) $(ARGS)

fuzzwire: build ## speak broken NATS and HTTP to the bus beside clients that behave (ARGS='-for 10m')
	go run ./scripts/fuzzwire -bus $(BIN)/deltran-bus $(or $(ARGS),-only services -for 20s)

deploy-check: ## check the image, the compose file and the systemd unit in deploy/
	scripts/deploy-check

bench: build ## measure the bus beside the nats-server that it embeds, its start, and bustest (ROUNDS=15, ARGS='-quick')
	go run ./scripts/bench compare -bus $(BIN)/deltran-bus -bin $(BIN) -rounds $(or $(ROUNDS),15) $(ARGS)
	go run ./scripts/bench startup -bus $(BIN)/deltran-bus -bin $(BIN) -rounds $(or $(ROUNDS),15)
	go test -run '^$$' -bench Run -benchtime 200x ./bustest

bench-startup: build ## measure the start beside nats-server and natscli (ROUNDS=15)
	go run ./scripts/bench startup -bus $(BIN)/deltran-bus -bin $(BIN) -rounds $(or $(ROUNDS),15) -require-cold 10 -require-warm 15

ci: ## everything that has to pass, as CI runs it
	.ci/run

clean: ## remove what was built
	rm -rf $(BIN)
