package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
)

// Seal is one line of the seal file: it vouches for the events from From to To, and by the line before it for all earlier ones.
type Seal struct {
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	LastID string `json:"last_id"` // ce-id of the event To
	Hash   string `json:"hash"`    // SHA-256, lowercase hexadecimal, see roll
}

// sealEvery is the most events of a seal by default; sealAfter is the longest that a new event stays unsealed.
const (
	sealEvery = 1000
	sealAfter = 30 * time.Second
)

// roll computes a seal's hash: SHA-256 over the line before (its Hash, empty for the first), then for each event its sequence as
// a big-endian uint64 and its Hash.
type roll struct {
	h hash.Hash
	b []byte // of add
}

func newRoll(before Seal) *roll {
	r := &roll{h: sha256.New()}
	r.h.Write([]byte(before.Hash))
	return r
}

func (r *roll) add(sequence uint64, hash string) {
	r.b = append(binary.BigEndian.AppendUint64(r.b[:0], sequence), hash...)
	r.h.Write(r.b)
}

func (r *roll) sum() string { return hex.EncodeToString(r.h.Sum(nil)) }

// Sealer writes the seals of a journal's durable events to a file beside the store, so that a change, a loss or a reuse of
// sequences inside the store is noticed: a line for each full range of events, and a shorter one for what is left at Close or
// 30 s after the last line. One process of a site runs it.
//
// The file is not synced: it only speaks of events that are durable already, and what a power cut takes of it is written again.
type Sealer struct {
	file  *os.File
	every int
	stop  chan struct{} // ends the clock
	clock sync.WaitGroup

	mu     sync.Mutex // guards what follows: events come in one goroutine, the clock in another
	last   Seal       // the last line written
	next   Seal       // the line that grows; To 0: no event yet
	roll   *roll
	failed error
}

// OpenSealer goes on where the file ends, every events to a line (0: 1000); a line that a crash cut short is dropped. The caller
// hands it all durable events behind Last, by Add, and closes it.
// Errors: failed_precondition when the journal does not hold the event that was sealed last, as after a loss of data; unavailable.
func OpenSealer(ctx context.Context, j *Journal, file string, every int) (*Sealer, error) {
	if every <= 0 {
		every = sealEvery
	}
	s, err := openSealer(file, every)
	if err != nil {
		return nil, err
	}
	if err := s.checkLast(ctx, j); err != nil {
		s.file.Close() // nothing was written
		return nil, err
	}
	s.clock.Go(s.tick)
	return s, nil
}

// Last is the sequence of the last event that was taken.
func (s *Sealer) Last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.last.To, s.next.To)
}

// Close seals what is left. Its error is that of a line that could not be written, now or before.
func (s *Sealer) Close() error {
	close(s.stop)
	s.clock.Wait()
	defer s.file.Close() // every line was written, and checked, by then
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write()
}

func openSealer(path string, every int) (*Sealer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the seal file can't be opened; check the data directory")
	}
	last, end, err := lastSeal(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		f.Close() // nothing was written
		return nil, fault.Wrap(err, fault.Unavailable, "the seal file %s can't be read; move it away to start a new one", path)
	}
	return &Sealer{file: f, every: every, stop: make(chan struct{}), last: last, roll: newRoll(last)}, nil
}

// lastSeal reads the last whole line from the end of the file, and where it ends.
func lastSeal(f *os.File) (last Seal, end int64, err error) {
	const tail = 4096 // a line has about 200 bytes
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return Seal{}, 0, err
	}
	from := max(info.Size()-tail, 0)
	b := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(b, from); err != nil {
		return Seal{}, 0, err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	if whole == 0 {
		if from == 0 {
			return Seal{}, 0, nil // nothing but the beginning of a first line
		}
		return Seal{}, 0, errors.New("it ends in no line")
	}
	line := b[bytes.LastIndexByte(b[:whole-1], '\n')+1 : whole]
	return last, from + int64(whole), json.Unmarshal(line, &last)
}

// checkLast compares the event that was sealed last with the journal.
func (s *Sealer) checkLast(ctx context.Context, j *Journal) error {
	if s.last.To == 0 {
		return nil
	}
	found, err := j.stream.Range(ctx, s.last.To, 1)
	if err != nil {
		return err
	}
	if len(found) == 1 && found[0].Sequence == s.last.To {
		if found[0].ID() == s.last.LastID {
			return nil
		}
	}
	return fault.New(fault.FailedPrecondition, "event %d of the journal is not the one that was sealed: data was lost or changed; "+
		"run waybill verify, and move the seal file away to start a new one", s.last.To)
}

// Add takes durable events in order; those up to Last it has already. Error: unavailable once a line could not be written, for
// good: half a line may stand in the file, which the next OpenSealer mends.
func (s *Sealer) Add(batch []Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range batch {
		if m.Sequence <= max(s.last.To, s.next.To) {
			continue
		}
		if s.next.From == 0 {
			s.next.From = s.last.To + 1
		}
		s.roll.add(m.Sequence, m.Hash())
		s.next.To = m.Sequence
		full := s.next.To-s.last.To >= uint64(s.every)
		if full || i == len(batch)-1 {
			s.next.LastID = m.ID()
		}
		if full {
			if err := s.write(); err != nil {
				return err
			}
		}
	}
	return s.failed
}

// tick seals what is left every 30 seconds. Where that fails the next Add says so.
func (s *Sealer) tick() {
	t := time.NewTicker(sealAfter)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			s.mu.Lock()
			_ = s.write()
			s.mu.Unlock()
		}
	}
}

// write ends the growing line. s.mu is held. After a failure it writes nothing more: half a line may stand in the file.
func (s *Sealer) write() error {
	if s.failed != nil || s.next.To == 0 {
		return s.failed
	}
	s.next.Hash = s.roll.sum()
	line, err := json.Marshal(s.next)
	if err == nil {
		_, err = s.file.Write(append(line, '\n'))
	}
	if err != nil {
		s.failed = fault.Wrap(err, fault.Unavailable, "the seal file can't be written; check the disk")
		return s.failed
	}
	s.last, s.next = s.next, Seal{}
	s.roll = newRoll(s.last)
	return nil
}
