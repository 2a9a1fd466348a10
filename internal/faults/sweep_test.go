//go:build linux

package faults

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSweep looks whether what a killed run leaves behind is removed, and what belongs to one that lives is not.
func TestSweep(t *testing.T) {
	t.Parallel()
	tools(t, "mkfs.ext4", "mount")
	mine := scratch(t)
	left, err := os.MkdirTemp("", scratchName)
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(left, "disk.img")
	image(t, disk, 16<<20, ext4...)
	mount(t, disk, filepath.Join(left, "disk"), "loop")
	old := time.Now().Add(-time.Hour)
	for _, dir := range []string{mine, left} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was left is still there: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("what is in use is gone: %v", err)
	}
}
