package embedded

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// ownProgram is what this process runs, also where the file was removed or another version was put in its place. Without /proc it is
// the file that it was started from, whatever that is by now.
func ownProgram() (string, error) { return programAt("/proc/self/exe") }

// startedFrom is looked for at the start: the working directory may change later.
var startedFrom, startedFromErr = pathOf(os.Args[0])

func programAt(link string) (string, error) {
	if _, err := os.Stat(link); err == nil {
		return link, nil
	}
	return startedFrom, startedFromErr
}

func pathOf(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// withParent has the kernel kill a process with its parent, also one that is stopped and hears nothing.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// nameProcess names this process for top, and offers it to the kernel before its parent where memory runs out: the site goes on
// without etcd.
func nameProcess() {
	// Neither is needed: whoever has no /proc to write to goes without.
	_ = os.WriteFile("/proc/self/comm", []byte("waybill-etcd"), 0)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
}
