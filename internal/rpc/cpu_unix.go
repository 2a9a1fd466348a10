//go:build unix

package rpc

import (
	"time"

	"golang.org/x/sys/unix"
)

// processCPU is what this process has spent on processors, user and system.
func processCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
