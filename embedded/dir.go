package embedded

import (
	"io/fs"
	"os"

	"waybill/internal/fault"
)

// makeDir creates dir with its parents, if need be, as 0700 whatever the umask is. A directory that exists keeps its mode.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fault.New(fault.FailedPrecondition, "%s is a file where a directory is needed: move it away, or choose another --data", dir)
		}
		return nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the directory %s can't be created: check its parent's owner and mode, or choose another --data", dir)
	}
	if err := os.Chmod(dir, dirMode); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the directory %s can't be made private", dir)
	}
	return nil
}

// privateDir is makeDir for one that must be readable by nobody else.
func privateDir(dir string) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be read", dir)
	}
	return onlyOwner(dir, info, "700")
}

func onlyOwner(path string, info fs.FileInfo, want string) error {
	if mode := info.Mode(); mode&fs.ModeSymlink != 0 {
		return fault.New(fault.FailedPrecondition, "%s is a symbolic link, which may point at something that others control: put the real thing there", path)
	} else if mode.Perm()&0o077 != 0 {
		return fault.New(fault.FailedPrecondition, "%s has mode %04o, so others can reach the secrets in it: run chmod %s %s", path, mode.Perm(), want, path)
	}
	return nil
}

// syncDir makes the names in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = d.Sync()
		d.Close()
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the directory %s can't be made durable", dir)
	}
	return nil
}

// writable tells by trying, because mode bits say nothing about root, read-only mounts and full disks.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the directory %s can't be written: check its owner, mode and free space, or choose another --data", dir)
	}
	f.Close()
	os.Remove(f.Name())
	return nil
}
