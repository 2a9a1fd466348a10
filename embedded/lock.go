package embedded

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gofrs/flock"

	"waybill/internal/fault"
)

// DirLock is the exclusive right of this process to a data directory. The kernel ends it with the process, so a kill leaves
// nothing behind that would have to be cleaned up.
type DirLock struct{ f *flock.Flock }

// Lock takes dir for this process, creating it if need be. Error: failed_precondition, at once and with the other's process
// id, where some other process (or another part of this one) holds it.
func Lock(dir string) (*DirLock, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "lock")
	f := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(fileMode))
	ok, err := f.TryLock()
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the directory %s can't be locked: check its owner and mode, or choose another --data", dir)
	}
	if !ok {
		return nil, fault.New(fault.FailedPrecondition, "%s is in use by %s; stop it or choose another --data", dir, holder(path))
	}
	// The id is for people to read: the lock itself is the kernel's.
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), fileMode); err != nil {
		f.Unlock()
		return nil, fault.Wrap(err, fault.Unavailable, "the lock of %s can't be written: check its owner and free space", dir)
	}
	return &DirLock{f}, nil
}

// holder may run while the other has the lock and has not yet written its id.
func holder(path string) string {
	b, _ := os.ReadFile(path)
	if pid, err := strconv.Atoi(string(bytes.TrimSpace(b))); err == nil {
		return "process " + strconv.Itoa(pid) + " (waybill serve)"
	}
	return "another process (waybill serve)"
}

// Unlock gives the directory back. The file stays: removing it would let two processes lock two files of the same name.
func (l *DirLock) Unlock() error {
	if err := l.f.Unlock(); err != nil {
		return fault.Wrap(err, fault.Internal, "the lock %s could not be given back", l.f.Path())
	}
	return nil
}
