// Package payments holds the message that the peers with generated code have: payments.proto and payments.thrift. What is generated
// is checked in.
package payments

//go:generate ./generate.sh
