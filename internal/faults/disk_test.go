//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scratchName begins the name of every directory that these tests make: what a killed run has left behind is known by it.
const scratchName = "waybill-faults-"

// scratch makes a directory for the length of the test. This process keeps it locked, so that another run sees whether its
// owner still lives.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", scratchName)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer lock.Close()
		if err := remove(dir); err != nil {
			t.Errorf("%s can't be removed: %v", dir, err)
		}
	})
	return dir
}

// lockDir locks a directory for this process, and fails at once where another has it. The children do not inherit it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes what killed runs have left behind: mounts, with them their loop devices, and files.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), scratchName+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < 2*time.Second {
			continue // its owner may be about to lock it
		}
		lock, err := lockDir(dir)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue // its owner lives, or has just removed it
		}
		if err == nil {
			err = remove(dir)
			lock.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// remove takes a scratch directory away with all that is mounted in it, the innermost first.
func remove(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var mounts []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			mounts = append(mounts, f[4])
		}
	}
	slices.Reverse(mounts) // in the order in which they were mounted
	for _, m := range mounts {
		if err := unmount(m); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// command runs a program of the system for a minute at most; its error carries what it said.
func command(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// tools skips the test where this process is not root or lacks one of the programs.
func tools(t *testing.T, names ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "only root may do this")
	}
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			lacking(t, "%s is not installed", name)
		}
	}
}

// image makes a file system in a file of that size. The space is taken when it is written to.
func image(t testing.TB, file string, size int64, mkfs ...string) {
	t.Helper()
	f, err := os.Create(file)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err == nil {
		err = command(mkfs[0], append(mkfs[1:], file)...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The file systems that the tests make.
var (
	ext4 = []string{"mkfs.ext4", "-q", "-F", "-m", "0"}
	xfs  = []string{"mkfs.xfs", "-q", "-f", "-m", "reflink=1"}
)

// mount mounts an image on a directory that it makes, for the length of the test. The first mount of a test tells whether
// this machine lets us; then it is skipped.
func mount(t *testing.T, file, dir, options string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	if err := command("mount", "-o", options, file, dir); err != nil {
		if text := err.Error(); strings.Contains(text, "permission denied") || strings.Contains(text, "loop device") || strings.Contains(text, "unknown filesystem") {
			lacking(t, "no loop mounts: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
}

// unmount ends a mount, if there is one. A process that was just killed may keep it busy for a moment.
func unmount(dir string) error {
	return until(20*time.Second, func() error {
		err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // nothing is mounted there
			return nil
		}
		if err != nil {
			return fmt.Errorf("umount %s: %w", dir, err)
		}
		return nil
	})
}

// clone copies a file as it is at one moment, sharing its blocks.
func clone(from, to string) error {
	a, err := os.Open(from)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlFileClone(int(b.Fd()), int(a.Fd())), b.Close())
}

// fill writes a file that leaves no more than so many bytes of its file system free.
func fill(t testing.TB, file string, leave int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var size int64
	for step := int64(64 << 20); step >= 4<<10; {
		var s unix.Statfs_t
		if err := unix.Statfs(file, &s); err != nil {
			t.Fatal(err)
		}
		err := error(syscall.ENOSPC)
		if int64(s.Bavail)*s.Bsize-step >= leave {
			err = unix.Fallocate(int(f.Fd()), 0, size, step)
		}
		switch {
		case err == nil:
			size += step
		case errors.Is(err, unix.ENOSPC):
			step /= 2
		case !errors.Is(err, unix.EINTR):
			t.Fatal(err)
		}
	}
}

// triggerOf is the file of the kernel that has the mounted image's file system find an error in itself.
func triggerOf(t *testing.T, disk string) string {
	t.Helper()
	out, err := exec.Command("losetup", "-n", "-O", "NAME", "-j", disk).Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join("/sys/fs/ext4", filepath.Base(strings.TrimSpace(string(out))), "trigger_fs_error")
}

// repaired reports whether e2fsck's error means that it has repaired what it found.
func repaired(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 1
}
