package bench

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Machine is where a benchmark ran. What can't be found out is empty or 0.
type Machine struct {
	CPU        string  `json:"cpu"` // model
	Cores      int     `json:"cores"`
	OS         string  `json:"os"` // such as linux/amd64
	Kernel     string  `json:"kernel"`
	Memory     uint64  `json:"memory_bytes"`
	FileSystem string  `json:"file_system"`  // of the data, such as ext4; empty against a server
	Load       float64 `json:"load_average"` // of a minute, at the start
}

// ThisMachine describes this machine. dir is where the data is; empty for none.
func ThisMachine(dir string) Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	m.look()
	if dir != "" {
		m.FileSystem = FileSystem(dir)
	}
	return m
}

// InMemory are file systems that no power cut leaves anything of: what is durable there says nothing about a disk.
var InMemory = []string{"tmpfs", "ramfs"}

// busyLoad is the load of each core above which a machine counts as busy with other things.
const busyLoad = 0.5

// Warnings says what makes figures from this machine worth less.
func (m Machine) Warnings() (out []string) {
	for _, name := range InMemory {
		if m.FileSystem == name {
			out = append(out, "the data is on "+name+", which is memory: nothing there is durable, and a disk is slower; name a directory on a disk with --data")
		}
	}
	if m.Load > busyLoad*float64(m.Cores) {
		out = append(out, fmt.Sprintf("the machine is busy: a load of %.1f on %d cores before the benchmark began; figures will be worse than it can do", m.Load, m.Cores))
	}
	return out
}

// Versions are what was measured with.
type Versions struct {
	Waybill    string `json:"waybill"`
	Commit     string `json:"commit"`
	Go         string `json:"go"`
	NATSServer string `json:"nats_server"`
	NATSClient string `json:"nats_client"`
	Etcd       string `json:"etcd"`
}

// TheseVersions are those of this program, which calls itself version.
func TheseVersions(version string) Versions {
	v := Versions{Waybill: version, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	changed := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " and changes"
		}
	}
	v.Commit += changed
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/nats-io/nats-server/v2":
			v.NATSServer = m.Version
		case "github.com/nats-io/nats.go":
			v.NATSClient = m.Version
		case "go.etcd.io/etcd/server/v3":
			v.Etcd = m.Version
		}
	}
	return v
}

// CostNow is what this process has used since it began, to the last allocation: it stops the program for some tens of µs to count. CPU is
// 0 where the system does not say.
func CostNow() Cost {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Cost{CPU: cpuTime(), Allocs: m.Mallocs, Bytes: m.TotalAlloc}
}

// Since is what was used between two moments.
func (c Cost) Since(before Cost) *Cost {
	return &Cost{CPU: c.CPU - before.CPU, Allocs: c.Allocs - before.Allocs, Bytes: c.Bytes - before.Bytes}
}
