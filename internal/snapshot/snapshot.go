// Package snapshot keeps in a file what a service holds in memory, so that its start reads that and the journal's tail in place
// of the whole journal. The journal stays the truth: a snapshot says after which event it was taken, and whoever reads it makes
// sure that the journal has that event. It knows no domain.
//
// A file is there whole or not at all: it is written beside its place, synced, and renamed. Its checksum is looked at before
// anything of it is used.
package snapshot

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/go-json-experiment/json"

	"waybill/subjects"
)

// Header says what the content is: of whom, and what it was taken after.
type Header struct {
	Content  string        `json:"content"` // what it is, as in "stock"
	Format   int           `json:"format"`  // of the content
	Site     subjects.Site `json:"site"`
	Sequence uint64        `json:"sequence"` // the last event that is in the content
	ID       string        `json:"id"`       // its ce-id
	Hash     string        `json:"hash"`     // its hash
}

// A file is the magic line, the header as one line of JSON, the content, and the SHA-256 of all that.
const (
	magic     = "waybill snapshot 1\n"
	maxHeader = 4096
	maxSize   = 512 << 20 // bytes; what is larger is neither written nor read
)

// ErrNone is returned where there is no snapshot.
var ErrNone = errors.New("there is no snapshot")

// Write puts a snapshot in the place of the one at path and returns its size. content writes what is in it. When it returns
// without error the file is whole on the disk; after an error the former one is still there.
func Write(path string, h Header, content func(io.Writer) error) (size int64, err error) {
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			f.Close()         // the first error says what is wrong
			os.Remove(beside) // it would be written over the next time
		}
	}()
	w := &writer{file: bufio.NewWriterSize(f, 64<<10), sum: sha256.New()}
	line, err := json.Marshal(h)
	if err != nil {
		return 0, err
	}
	if _, err = fmt.Fprintf(w, "%s%s\n", magic, line); err != nil {
		return 0, err
	}
	if err = content(w); err != nil {
		return 0, err
	}
	if _, err = w.file.Write(w.sum.Sum(nil)); err != nil {
		return 0, err
	}
	if err = errors.Join(w.file.Flush(), f.Sync()); err != nil {
		return 0, err
	}
	if err = f.Close(); err != nil {
		return 0, err
	}
	// The directory is not synced: where a power cut takes the rename back, the former snapshot is as good, only older.
	return w.size + sha256.Size, os.Rename(beside, path)
}

// writer sums up what goes to the file, and bounds it.
type writer struct {
	file *bufio.Writer
	sum  hash.Hash
	size int64
}

func (w *writer) Write(b []byte) (int, error) {
	if w.size += int64(len(b)); w.size > maxSize-sha256.Size {
		return 0, fmt.Errorf("it would be larger than %d bytes", maxSize)
	}
	w.sum.Write(b)
	return w.file.Write(b)
}

// Snapshot is an open file whose checksum is right. Its content is read once, from one goroutine.
type Snapshot struct {
	Header  Header
	Content io.Reader
	Size    int64 // of the file
	file    *os.File
}

// Open opens the snapshot at path and reads it through once, to compare its checksum. Errors: ErrNone; any other says why it
// can't be used.
func Open(path string) (_ *Snapshot, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close() // it was only read
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() < int64(len(magic))+sha256.Size || info.Size() > maxSize {
		return nil, fmt.Errorf("it is no snapshot: %s of %d bytes", info.Mode(), info.Size())
	}
	end := info.Size() - sha256.Size
	sum, want := sha256.New(), make([]byte, sha256.Size)
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, end)); err != nil {
		return nil, err
	}
	if _, err := f.ReadAt(want, end); err != nil {
		return nil, err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return nil, errors.New("it is damaged: its checksum is another")
	}
	s := &Snapshot{Size: info.Size(), file: f}
	if err := s.begin(end); err != nil {
		return nil, err
	}
	return s, nil
}

// begin reads what comes before the content, which ends at end.
func (s *Snapshot) begin(end int64) error {
	head := make([]byte, min(end, int64(len(magic)+maxHeader)))
	if _, err := s.file.ReadAt(head, 0); err != nil {
		return err
	}
	line, ok := bytes.CutPrefix(head, []byte(magic))
	if !ok {
		return errors.New("it was written by another program")
	}
	n := bytes.IndexByte(line, '\n')
	if n < 0 {
		return errors.New("it has no header")
	}
	if err := json.Unmarshal(line[:n], &s.Header); err != nil {
		return fmt.Errorf("its header can't be read: %w", err)
	}
	from := int64(len(magic) + n + 1)
	s.Content = io.NewSectionReader(s.file, from, end-from)
	return nil
}

// Close closes the file.
func (s *Snapshot) Close() error { return s.file.Close() }
