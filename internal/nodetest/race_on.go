//go:build race

package nodetest

// Race says that the race detector is on: everything takes several times as long.
const Race = true
