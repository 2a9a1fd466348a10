package embedded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"waybill/internal/fault"
)

// Disk is the file system of a data directory, asked whether it can be relied upon. It is safe for concurrent use.
type Disk struct {
	dir    string
	space  func() uint64 // bytes that must be free
	inject func() error

	mu      sync.Mutex
	pending chan error // of a question that the file system has not answered yet
	since   time.Time
}

// diskWait is how long the file system may take to write and sync a few bytes before it counts as hanging.
const diskWait = 3 * time.Second

// NewDisk makes the Disk of dir. space says how many bytes must be free; inject is for tests, as NewBarrier's.
func NewDisk(dir string, space func() uint64, inject func() error) *Disk {
	return &Disk{dir: dir, space: space, inject: inject}
}

// Well writes and syncs a file, and looks for free space. Errors: unavailable, saying what is wrong; ctx's. It returns within
// 3 s: a question that hangs in the file system longer stays the only one, until it is answered.
func (d *Disk) Well(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending == nil {
		d.pending, d.since = make(chan error, 1), time.Now()
		go func(answer chan<- error) { answer <- d.try() }(d.pending) // ends with the system calls, which nothing can interrupt
	}
	timer := time.NewTimer(diskWait)
	defer timer.Stop()
	select {
	case err := <-d.pending:
		d.pending = nil
		return err
	case <-timer.C:
		return fault.New(fault.Unavailable, "the file system of %s does not answer for %s", d.dir, time.Since(d.since).Round(time.Second))
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Disk) try() error {
	free, err := FreeSpace(d.dir)
	if err != nil {
		return err
	}
	if least := d.space(); free < least {
		return fault.New(fault.Unavailable, "the file system of %s is almost full: %d bytes are free, %d are needed", d.dir, free, least)
	}
	if d.inject != nil {
		if err := d.inject(); err != nil {
			return fault.Wrap(err, fault.Unavailable, "the file system of %s can't be made durable", d.dir)
		}
	}
	f, err := os.CreateTemp(d.dir, ".writable-*")
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the directory %s can't be written", d.dir)
	}
	_, err = f.Write(make([]byte, 64<<10))
	err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the directory %s can't be written", d.dir)
	}
	return nil
}

// Reread has everything below dir written, and then has the system forget what it keeps of it in memory. After a write that
// failed the system may show what the disk does not hold; what is read next is what the disk holds. Nothing below dir may be
// open for writing. Error: unavailable where it can't all be written now.
func (d *Disk) Reread(dir string) error {
	sync, release, err := openSync(dir)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the file system of %s can't be made durable", dir)
	}
	err = errors.Join(injected(sync, d.inject)(), release())
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the file system of %s can't be made durable", dir)
	}
	return eachFile(dir, func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(forgetCached(f), f.Close())
	})
}

// ForgetIndexes removes what a stopped server has written of the streams' content beside the content, in dir, a NATSConfig's
// DataDir: the server then reads the content itself. The index is of what the server had in memory.
func ForgetIndexes(dir string) error {
	return eachFile(dir, func(path string) error {
		if filepath.Base(path) != "index.db" {
			return nil
		}
		return os.Remove(path)
	})
}

// eachFile calls f with every regular file below dir.
func eachFile(dir string, f func(path string) error) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // who uses the directory may have removed it
			return nil
		case err != nil || !e.Type().IsRegular():
			return err
		}
		if err := f(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "what is in %s can't be read", dir)
	}
	return nil
}
