// Package vault seals what must not stand in the journal in clear: customers' personal data, each customer's with a key of their
// own that can be erased for good, and gateway tokens with a key of the site. Everything is AES-256-GCM; who lacks the site's
// master key reads nothing, and after Erase nobody reads what was sealed for that customer before.
package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/subjects"
)

// ErrErased is returned when a blob can't be opened any more, because the customer's key was erased.
var ErrErased = fault.New(fault.NotFound, "the customer's personal data was erased")

// Keys is where the customers' wrapped keys are kept: the last message of a customer's subject is the key. A *journal.Stream on
// KEYS is one.
type Keys interface {
	Get(ctx context.Context, subject string) (journal.Message, bool, error)
	Body(ctx context.Context, subject string) ([]byte, bool, error)
	Publish(ctx context.Context, p journal.Publication) (uint64, error)
	DeleteMessage(ctx context.Context, sequence uint64) (existed bool, err error)
}

// cacheAge is how long an opened key is used without a look whether it was erased by another process.
const cacheAge = 5 * time.Second

// cacheSize is the most keys kept in memory, about 300 bytes each.
const cacheSize = 4096

// Vault seals and opens for one site. It is safe for concurrent use, also by several processes on the same keys.
//
// A customer's key is made at the first sealing and kept in the stream KEYS, wrapped by a key derived from the master key. Two
// processes agree on it by compare-and-set. The stream is on the file system that the durability barrier syncs as a whole, and
// a key is acknowledged before anything is sealed with it: an event that is durable has a durable key.
//
// Opening uses keys from a cache for at most 5 seconds, so a blob may still be opened that long in another process than the one
// that erased. Sealing always asks the stream, so that nothing new is sealed with an erased key.
type Vault struct {
	site  subjects.Site
	keys  Keys
	wrap  cipher.AEAD // wraps the customers' keys
	token cipher.AEAD // seals tokens
	cache *cache
	now   func() time.Time
}

// Open makes a vault from the site's master key, which must be uniformly random. It sends nothing.
func Open(master [32]byte, keys Keys, site subjects.Site) *Vault {
	return &Vault{
		site: site, keys: keys, now: time.Now, cache: newCache(cacheSize),
		wrap:  gcm(derive(master, "waybill customer keys 1", string(site))),
		token: gcm(derive(master, "waybill tokens 1", string(site))),
	}
}

// derive is HKDF-Expand (RFC 5869) with SHA-256 for a single block; HKDF-Extract is not needed for a uniformly random key.
func derive(master [32]byte, purpose, site string) (key [32]byte) {
	m := hmac.New(sha256.New, master[:])
	m.Write(append(join(purpose, site), 1))
	return [32]byte(m.Sum(nil))
}

// gcm never fails for a key of this length and panics if the standard library should break that promise.
func gcm(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block) // a fresh random nonce stands before each ciphertext
	if err != nil {
		panic(err)
	}
	return aead
}

// join puts texts behind one another, each with its length, so that no two lists of texts give the same bytes.
func join(texts ...string) []byte {
	var b []byte
	for _, t := range texts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(t))), t...)
	}
	return b
}

// The layout of a sealed blob: the version, for personal data the id of the key, then nonce, ciphertext and tag.
const (
	blobVersion = 1
	keyIDSize   = 8
)

// SealPersonal seals plain for the customer, with a new key if the customer has none.
// Errors: invalid_argument for an id that is none; unavailable, deadline_exceeded.
func (v *Vault) SealPersonal(ctx context.Context, customer id.Customer, plain []byte) ([]byte, error) {
	if err := id.CheckDerived("customer_id", customer); err != nil {
		return nil, err
	}
	k, err := v.fresh(ctx, customer, true)
	if err != nil {
		return nil, err
	}
	blob := append([]byte{blobVersion}, k.id[:]...)
	return k.aead.Seal(blob, nil, plain, v.personal(customer)), nil
}

// OpenPersonal opens what SealPersonal sealed for the same customer. Errors: ErrErased when the key is gone, or is another one by
// now; invalid_argument for what is no such blob; unavailable, deadline_exceeded.
func (v *Vault) OpenPersonal(ctx context.Context, customer id.Customer, blob []byte) ([]byte, error) {
	if err := id.CheckDerived("customer_id", customer); err != nil {
		return nil, err
	}
	if len(blob) < 1+keyIDSize || blob[0] != blobVersion {
		return nil, fault.New(fault.InvalidArgument, "this is not a sealed blob that this program knows")
	}
	keyID := [keyIDSize]byte(blob[1:])
	k, ok := v.cache.get(customer, v.now())
	if !ok || k.id != keyID {
		var err error
		if k, err = v.fresh(ctx, customer, false); err != nil {
			return nil, err
		}
	}
	if k.id != keyID {
		return nil, ErrErased
	}
	plain, err := k.aead.Open(nil, nil, blob[1+keyIDSize:], v.personal(customer))
	if err != nil {
		return nil, fault.New(fault.InvalidArgument, "the sealed blob was changed, or is another customer's")
	}
	return plain, nil
}

func (v *Vault) personal(customer id.Customer) []byte {
	return join("personal", string(v.site), string(customer))
}

// Erase destroys the customer's key: it is overwritten in the store's file and forgotten here at once, in other processes within
// 5 seconds. existed is false when there was none. The overwriting is durable only after a sync of the file system by the caller;
// copies in backups and snapshots are out of its reach. A new sealing afterwards makes a new key.
// Errors: invalid_argument for an id that is none; aborted when others keep making keys; unavailable, deadline_exceeded.
func (v *Vault) Erase(ctx context.Context, customer id.Customer) (existed bool, err error) {
	if err := id.CheckDerived("customer_id", customer); err != nil {
		return false, err
	}
	defer v.cache.drop(customer) // last, so that nobody who has read the key until then keeps it
	const tries = 5
	for range tries {
		m, ok, err := v.keys.Get(ctx, subjects.Key(v.site, customer))
		if err != nil || !ok {
			return existed, err
		}
		gone, err := v.keys.DeleteMessage(ctx, m.Sequence)
		if err != nil {
			return existed, err
		}
		if existed = existed || gone; gone {
			return true, nil
		}
	}
	return existed, fault.New(fault.Aborted, "the customer's key changes while it is erased; try again")
}

// Forget drops the customer's key from memory: another vault has erased it.
func (v *Vault) Forget(customer id.Customer) { v.cache.drop(customer) }

// SealToken seals a gateway token with the site's key, bound to aad, which is the id of what the token belongs to.
func (v *Vault) SealToken(aad, token string) []byte {
	return v.token.Seal([]byte{blobVersion}, nil, []byte(token), join("token", string(v.site), aad))
}

// OpenToken opens what SealToken sealed with the same aad. Errors: invalid_argument for any other blob.
func (v *Vault) OpenToken(aad string, blob []byte) (string, error) {
	if len(blob) < 1 || blob[0] != blobVersion {
		return "", fault.New(fault.InvalidArgument, "this is not a sealed token that this program knows")
	}
	plain, err := v.token.Open(nil, nil, blob[1:], join("token", string(v.site), aad))
	if err != nil {
		return "", fault.New(fault.InvalidArgument, "the sealed token was changed, or belongs to something else")
	}
	return string(plain), nil
}

// Hint is the last 4 characters of a token, by which its owner knows it again; nothing of a token that has no more than these.
func Hint(token string) string {
	const shown = 4
	r := []rune(token)
	if len(r) <= shown {
		return ""
	}
	return string(r[len(r)-shown:])
}

// dataKey is a customer's key, unwrapped.
type dataKey struct {
	id   [keyIDSize]byte
	aead cipher.AEAD
}

// fresh returns the customer's key as the stream has it now. Where there is none it makes one, or returns ErrErased.
func (v *Vault) fresh(ctx context.Context, customer id.Customer, create bool) (dataKey, error) {
	const tries = 5
	subject := subjects.Key(v.site, customer)
	for range tries {
		epoch := v.cache.epoch()
		wrapped, ok, err := v.keys.Body(ctx, subject)
		switch {
		case err != nil:
			return dataKey{}, err
		case ok:
			return v.unwrap(customer, wrapped, epoch)
		case !create:
			v.cache.drop(customer)
			return dataKey{}, ErrErased
		}
		k, wrapped := v.make(customer)
		if _, err = v.keys.Publish(ctx, journal.Publication{Subject: subject, Data: wrapped}); err == nil {
			v.cache.put(customer, k, v.now().Add(cacheAge), epoch)
			return k, nil
		}
		if !errors.Is(err, journal.ErrConflict) {
			return dataKey{}, err
		}
	}
	return dataKey{}, fault.New(fault.Aborted, "the customer's key changes all the time; try again")
}

// make draws a new key and wraps it: version, key id, nonce, ciphertext and tag.
func (v *Vault) make(customer id.Customer) (k dataKey, wrapped []byte) {
	var key [32]byte
	rand.Read(key[:])
	rand.Read(k.id[:])
	k.aead = gcm(key)
	wrapped = append([]byte{blobVersion}, k.id[:]...)
	return k, v.wrap.Seal(wrapped, nil, key[:], v.wrapping(customer, k.id))
}

func (v *Vault) wrapping(customer id.Customer, keyID [keyIDSize]byte) []byte {
	return join("key", string(v.site), string(customer), string(keyID[:]))
}

// unwrap opens a stored key, or takes it from the cache where it has the same id, which is drawn anew with each key.
func (v *Vault) unwrap(customer id.Customer, wrapped []byte, epoch uint64) (dataKey, error) {
	if len(wrapped) < 1+keyIDSize || wrapped[0] != blobVersion {
		return dataKey{}, fault.New(fault.Unavailable, "the customer's key was written by a newer program; update this one")
	}
	until := v.now().Add(cacheAge)
	k := dataKey{id: [keyIDSize]byte(wrapped[1:])}
	if known, ok := v.cache.peek(customer); ok && known.id == k.id {
		v.cache.put(customer, known, until, epoch)
		return known, nil
	}
	key, err := v.wrap.Open(nil, nil, wrapped[1+keyIDSize:], v.wrapping(customer, k.id))
	if err != nil || len(key) != 32 {
		return dataKey{}, fault.Wrap(err, fault.Internal, "the customer's key can't be unwrapped; is the master key the one of this site?")
	}
	k.aead = gcm([32]byte(key))
	v.cache.put(customer, k, until, epoch)
	return k, nil
}
