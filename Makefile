# What CI runs is `make check`. Everything else is longer, or for people.
GO ?= go

.PHONY: check fmt vet staticcheck test readme build bench bench-growth bench-start bench-durable bench-door bench-peers bench-compare bench-overload profile faults fuzz

check: fmt vet staticcheck test readme

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

# The README's test command, with the race detector; one package at a time, for those that start nodes and kill them fill the
# machine by themselves, and a bound on time means little on a machine that does twice as much; the bound on them all is for a slow machine.
test:
	$(GO) test -race -p 1 -timeout 40m ./...

# The README's commands, as they stand there.
readme:
	.ci/readme

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o waybill ./cmd/waybill

bench:
	$(GO) test ./bench ./internal/rpc ./internal/lean ./internal/journal ./internal/view ./internal/order ./internal/payment ./internal/inventory ./internal/shipment ./embedded -run '^$$' -bench . -benchmem

# The hot pieces (codec, mux, append, barrier, decide and apply) of this tree beside those of another revision, in turn, by benchstat:
# make bench-compare REV=main. COUNT is how many rounds; benchstat wants six, or it knows no interval. About five minutes.
bench-compare:
	@GO="$(GO)" bench/compare.sh "$(REV)" "$(or $(COUNT),6)"

# Ten times as many orders as a site does for a minute: 99 of 100 of those over it are refused within 5 ms, 99 of 100 of the others are
# confirmed within 250 ms, and 5 s later all is as before. Then as many reads, which it only reports. It wants a machine to itself.
bench-overload:
	$(GO) test ./bench -run TestOverload -overload 60s -v -timeout 10m

# Every method's p50 at a thousand events and at a million, and the memory of a node with 112,000 orders. About five minutes.
bench-growth:
	$(GO) test ./bench -run TestGrowth -growth 112000 -v -timeout 30m

# Durable appends with the shared barrier beside a sync for each message. Under a minute.
bench-durable:
	$(GO) test ./bench -run TestAppends -appends -v -timeout 10m

# A request from another process by each way into a node, and connections that say nothing. About five minutes.
bench-door:
	$(GO) test ./bench -run 'TestDoor$$|TestDoorFlood' -door -door.quiet 2s -v -timeout 30m

# Where the time and the allocations of an order go, in a node of its own process. Under a minute. For one caller, and to keep the profiles for
# go tool pprof: go test ./bench -run 'TestProfile$' -profile 2000 -profile.callers 1 -profile.out FILE -profile.allocs FILE -v
profile:
	$(GO) test ./bench -run 'TestProfile$$' -profile 10000 -v -timeout 10m

# Waybill beside what a team would use in its place: calls beside gRPC, Thrift and others, orders beside a Go service with PostgreSQL,
# which has to be installed, and beside JetStream alone. A module of its own. About ten minutes.
bench-peers:
	cd bench/peers && $(GO) vet ./... && $(GO) test ./... && $(GO) run . rpc && $(GO) run . durable

# How soon a site with a million events takes orders again, after a clean stop and after a kill under load: 5 s at most.
bench-start:
	$(GO) test ./bench -run TestStart -starts 112000 -v -timeout 30m

# The long campaigns of faults, from inside (a kill at every step of the order process, a clock that jumps) and from outside (power
# cuts, kills, disks that are full, fail or hang, processes that stand still), with one seed for all: make faults SEED=n repeats them.
# It needs root, strace, mkfs.ext4 and mkfs.xfs, and about an hour.
faults: build
	@seed=$${SEED:-$$(od -An -N7 -tu8 /dev/urandom | tr -d ' ')}; echo "SEED=$$seed"; \
	$(GO) test ./internal/node -run 'Fault|Kill|Restart|Rolling' -faults.all -faults.seed $$seed -v -timeout 60m && \
	$(GO) test ./internal/faults -parallel 1 -faults.all -faults.seed $$seed -faults.binary $(CURDIR)/waybill -v -timeout 90m

fuzz:
	for t in $$($(GO) test ./subjects -list Fuzz | grep Fuzz); do $(GO) test ./subjects -run '^$$' -fuzz "^$$t$$" -fuzztime 20s || exit 1; done
