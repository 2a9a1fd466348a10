# What CI runs is `make check`. Everything else is longer, or for people.
GO ?= go

.PHONY: check fmt vet staticcheck test readme build bench bench-growth bench-durable bench-peers faults fuzz

check: fmt vet staticcheck test readme

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

# The README's test command, with the race detector.
test:
	$(GO) test -race ./...

# The README's commands, as they stand there.
readme:
	.ci/readme

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o waybill ./cmd/waybill

bench:
	$(GO) test ./bench ./internal/rpc ./internal/journal ./internal/view -run '^$$' -bench . -benchmem

# Every method's p50 at a thousand events and at a million, and the memory of a node with 112,000 orders. About five minutes.
bench-growth:
	$(GO) test ./bench -run TestGrowth -growth 112000 -v -timeout 30m

# Durable appends with the shared barrier beside a sync for each message. Under a minute.
bench-durable:
	$(GO) test ./bench -run TestAppends -appends -v -timeout 10m

# Waybill beside a Go service with PostgreSQL, which has to be installed. A module of its own. About five minutes.
bench-peers:
	cd bench/peers && $(GO) vet . && $(GO) test . && $(GO) run . durable

# The long campaign of faults: a kill at every step of the order process, and under load.
faults:
	$(GO) test ./internal/node -run 'Fault|Kill|Restart' -faults.all -v -timeout 60m

fuzz:
	for t in $$($(GO) test ./subjects -list Fuzz | grep Fuzz); do $(GO) test ./subjects -run '^$$' -fuzz "^$$t$$" -fuzztime 20s || exit 1; done
