#!/bin/sh
# Makes paymentspb and paymentsthrift anew. It needs protoc and thrift (on Debian: apt-get install protobuf-compiler thrift-compiler);
# the plugins are built here, in the versions below.
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
for plugin in \
	google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12 \
	google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2 \
	connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1 \
	github.com/twitchtv/twirp/protoc-gen-twirp@v8.1.3+incompatible
do
	GOBIN=$bin GOFLAGS=-mod=mod go install "$plugin"
done
rm -rf paymentspb paymentsthrift
mkdir paymentspb
PATH=$bin:$PATH protoc --go_out=. --go-grpc_out=. --connect-go_out=. --twirp_out=. \
	--go_opt=module=waybill/bench/peers/payments --go-grpc_opt=module=waybill/bench/peers/payments \
	--connect-go_opt=module=waybill/bench/peers/payments --twirp_opt=module=waybill/bench/peers/payments payments.proto
thrift -out . --gen go:skip_remote payments.thrift
gofmt -w paymentspb paymentsthrift
