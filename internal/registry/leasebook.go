package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxKept bounds how many leases of each sort are remembered; the oldest have long run out.
const maxKept = 256

// leaseBook remembers on disk which leases this instance holds: whoever starts in the same directory after a crash can
// take back what the former life still holds, and need not wait for it to run out.
type leaseBook struct {
	file string // empty: remember nothing beyond this life
	log  zerolog.Logger

	mu      sync.Mutex
	current []clientv3.LeaseID // held and kept alive
	lost    []clientv3.LeaseID // of this life, no longer kept alive, but perhaps still in etcd
	former  []clientv3.LeaseID // of former lives
	over    bool               // the former lives are over: their leases are to be revoked like the lost ones
}

type savedLeases struct {
	Leases []string `json:"leases"` // hexadecimal, as etcdctl shows them
}

func openLeaseBook(file string, log zerolog.Logger) *leaseBook {
	b := &leaseBook{file: file, log: log}
	if file == "" {
		return b
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return b
	}
	var saved savedLeases
	if err == nil {
		err = json.Unmarshal(text, &saved)
	}
	if err != nil {
		log.Warn().Err(err).Str("file", file).Msg("the leases of the former life can't be read; they run out by themselves")
		return b
	}
	for _, text := range saved.Leases {
		if n, err := strconv.ParseUint(text, 16, 63); err == nil {
			b.former = append(b.former, clientv3.LeaseID(n))
		}
	}
	if len(b.former) > maxKept {
		b.former = b.former[len(b.former)-maxKept:]
	}
	return b
}

// remember notes a lease before any key hangs on it.
func (b *leaseBook) remember(lease clientv3.LeaseID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = append(b.current, lease)
	b.save()
}

// forget strikes out a lease that is gone.
func (b *leaseBook) forget(lease clientv3.LeaseID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	is := func(l clientv3.LeaseID) bool { return l == lease }
	b.current, b.lost, b.former = slices.DeleteFunc(b.current, is), slices.DeleteFunc(b.lost, is), slices.DeleteFunc(b.former, is)
	b.save()
}

// abandon notes that a lease is no longer kept alive and was not revoked: that is tried when etcd answers.
func (b *leaseBook) abandon(lease clientv3.LeaseID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = slices.DeleteFunc(b.current, func(l clientv3.LeaseID) bool { return l == lease })
	b.lost = append(b.lost, lease)
	if len(b.lost) > maxKept {
		b.lost = b.lost[len(b.lost)-maxKept:]
	}
	b.save()
}

// save writes the book. The caller holds mu.
func (b *leaseBook) save() {
	if b.file == "" {
		return
	}
	saved := savedLeases{Leases: []string{}}
	for _, l := range slices.Concat(b.former, b.lost, b.current) {
		saved.Leases = append(saved.Leases, strconv.FormatUint(uint64(l), 16))
	}
	text, err := json.Marshal(saved)
	if err == nil {
		err = writeDurably(b.file, text)
	}
	if err != nil {
		b.log.Warn().Err(err).Str("file", b.file).Msg("leases can't be kept on disk; after a crash they would have to run out by themselves")
	}
}

// due returns the leases that are to be revoked.
func (b *leaseBook) due() []clientv3.LeaseID {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		return slices.Clone(b.lost)
	}
	return slices.Concat(b.former, b.lost)
}

// RevokeFormer takes back the leases that a former life of this instance left behind: its health and its leadership
// vanish at once. Only who holds the lock on the data directory may call it: the former life must be over. What etcd can't
// be told now it is told later. Error: unavailable when that is so.
func (r *Registry) RevokeFormer(ctx context.Context) error {
	r.leases.mu.Lock()
	r.leases.over = true
	r.leases.mu.Unlock()
	return r.revokeDue(ctx)
}

func (r *Registry) revokeDue(ctx context.Context) error {
	due := r.leases.due()
	for i, lease := range due {
		if err := r.revoke(ctx, lease); err != nil {
			return unavailable(err, strconv.Itoa(len(due)-i)+" leases are still to be taken back")
		}
		r.leases.forget(lease)
	}
	return nil
}

// revoke takes one lease back. A lease that is gone already is as good as revoked.
func (r *Registry) revoke(ctx context.Context, lease clientv3.LeaseID) error {
	ctx, cancel := context.WithTimeout(ctx, byeWait)
	defer cancel()
	if _, err := r.client.Revoke(ctx, lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return err
	}
	return nil
}
