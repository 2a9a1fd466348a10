package view

import (
	"hash/fnv"
	"os"
)

// What the column clean says of a file: closed as it should be, or else in use, by a process of which boot of the system.
const (
	notClean = 0 // of a boot that is not known
	isClean  = 1
)

// bootMark is a number for the present boot of the system; notClean where the system doesn't name it. What a process had written
// when it was killed is whole in the system's memory, so a file that was in use in this same boot needs no check: reading all of
// it takes seconds when it is large. After a power cut the boot is another.
func bootMark() int64 {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id") // Linux
	if err != nil || len(boot) == 0 {
		return notClean
	}
	h := fnv.New64a()
	h.Write(boot)
	return int64(h.Sum64()>>1 | 2)
}
