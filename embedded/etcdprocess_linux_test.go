package embedded

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOwnProgram looks for this program with and without /proc.
func TestOwnProgram(t *testing.T) {
	for _, link := range []string{"/proc/self/exe", filepath.Join(t.TempDir(), "gone")} {
		path, err := programAt(link)
		check(t, err)
		got, err := os.Stat(path)
		check(t, err)
		own, err := os.Stat("/proc/self/exe")
		check(t, err)
		if !os.SameFile(got, own) {
			t.Errorf("it is %s", path)
		}
	}
}
