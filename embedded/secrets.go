package embedded

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"waybill/internal/fault"
)

// Secrets is what a data directory keeps secret: the master key that wraps the customers' keys, and the nkey of every user
// of the embedded NATS server. It is immutable once open and safe for concurrent use.
type Secrets struct {
	// Master is the root of all keys that protect data at rest. Whoever loses it loses every sealed mail and address.
	Master [32]byte

	users map[string]nkeys.KeyPair
}

const (
	masterFile = "master.key"
	usersDir   = "users"
	dirMode    = 0o700
	fileMode   = 0o600
)

// OpenSecrets loads dir (DATA/secrets), and creates what is missing of it: the directory 0700, its files 0600, whatever the
// umask. Errors: failed_precondition where others than the owner can read it, or where the master key is gone while users
// are there; unavailable where it can't be read or written.
func OpenSecrets(dir string) (*Secrets, error) {
	for _, d := range []string{dir, filepath.Join(dir, usersDir)} {
		if err := privateDir(d); err != nil {
			return nil, err
		}
	}
	s := &Secrets{users: make(map[string]nkeys.KeyPair)}
	if err := s.openMaster(dir); err != nil {
		return nil, err
	}
	for _, u := range Users() {
		kp, err := openUser(filepath.Join(dir, usersDir, u+".nk"))
		if err != nil {
			return nil, err
		}
		s.users[u] = kp
	}
	if err := syncDir(filepath.Join(dir, usersDir)); err != nil {
		return nil, err
	}
	return s, syncDir(dir)
}

// openMaster comes before the users: so a directory with users and without a master key is one that lost it, and a new key
// in its place would make the old data unreadable without a word.
func (s *Secrets) openMaster(dir string) error {
	path := filepath.Join(dir, masterFile)
	b, err := readSecret(path)
	switch {
	case err == nil && len(b) != len(s.Master):
		return fault.New(fault.FailedPrecondition, "%s has %d bytes where %d are needed: restore it from a backup", path, len(b), len(s.Master))
	case err == nil:
		copy(s.Master[:], b)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if made, err := os.ReadDir(filepath.Join(dir, usersDir)); err != nil || len(made) > 0 {
		return fault.Wrap(err, fault.FailedPrecondition,
			"%s is missing, and the customers' data can't be read without it: restore it from a backup", path)
	}
	rand.Read(s.Master[:])
	return writeSecret(path, s.Master[:])
}

func openUser(path string) (nkeys.KeyPair, error) {
	seed, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createUser(path)
	}
	if err != nil {
		return nil, err
	}
	kp, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return nil, fault.Wrap(err, fault.FailedPrecondition, "%s holds no nkey seed: restore it, or remove it to get a new one", path)
	}
	if pub, err := kp.PublicKey(); err != nil || !nkeys.IsValidPublicUserKey(pub) {
		return nil, fault.Wrap(err, fault.FailedPrecondition, "%s is not the nkey of a user: restore it, or remove it to get a new one", path)
	}
	return kp, nil
}

func createUser(path string) (nkeys.KeyPair, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "no nkey could be made")
	}
	seed, err := kp.Seed()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "no nkey could be made")
	}
	return kp, writeSecret(path, seed)
}

// User returns the key pair of a user. Error: not_found for a name that is not one of Users.
func (s *Secrets) User(name string) (nkeys.KeyPair, error) {
	kp, ok := s.users[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no user %.40q: see Users for those that there are", name)
	}
	return kp, nil
}

// Option is what makes a NATS connection authenticate as the user. The seed stays in this process: the server sees a
// signature of its nonce. Error: as for User.
func (s *Secrets) Option(name string) (nats.Option, error) {
	kp, err := s.User(name)
	if err != nil {
		return nil, err
	}
	pub, err := kp.PublicKey()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the nkey of the user %s has no public part", name)
	}
	return nats.Nkey(pub, kp.Sign), nil
}

// readSecret returns fs.ErrNotExist as it is: the caller knows what its absence means.
func readSecret(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "%s can't be read", path)
	}
	if err := onlyOwner(path, info, "600"); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "%s can't be read", path)
	}
	return b, nil
}

// writeSecret leaves either the whole file or none: a crash in the middle must not leave half a key.
func writeSecret(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600 by itself
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be written: check the directory's owner and free space", path)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(fileMode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be written: check the directory's owner and free space", path)
	}
	return nil
}
