//go:build !linux

package bench

import "time"

// look knows nothing of this system.
func (m *Machine) look() {}

// FileSystem is not known on this system.
func FileSystem(string) string { return "" }

func cpuTime() time.Duration { return 0 }
