//go:build !linux

package embedded

import (
	"os"
	"syscall"
)

func ownProgram() (string, error) { return os.Executable() }

func withParent() *syscall.SysProcAttr { return nil }

func nameProcess() {}
