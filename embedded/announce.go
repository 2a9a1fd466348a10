package embedded

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nats-io/nkeys"

	"waybill/internal/fault"
)

// Announce lets another process of the same user on this machine find the data directory, and so the secrets in it, of a
// server that it knows only by its URL: it leaves a file named for the server's id, which every client is told on
// connecting, in a directory that only this user can enter. remove takes it away again; a file that a killed process left
// does no harm, because server ids are never used twice.
func Announce(serverID, dataDir string) (remove func(), err error) {
	if !nkeys.IsValidPublicServerKey(serverID) {
		return nil, fault.New(fault.InvalidArgument, "%.80q is not the id of a NATS server", serverID)
	}
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the place of %s can't be found out", dataDir)
	}
	dir, err := runtimeDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, serverID)
	if err := writeSecret(path, []byte(abs+"\n")); err != nil {
		return nil, err
	}
	return func() { os.Remove(path) }, nil
}

// Find returns the data directory that a process of this user announced for the server. It trusts only what this user alone
// can have written; for everything else ok is false.
func Find(serverID string) (dataDir string, ok bool) {
	if !nkeys.IsValidPublicServerKey(serverID) {
		return "", false
	}
	dir, err := runtimeDir()
	if err != nil {
		return "", false
	}
	path := filepath.Join(dir, serverID)
	info, err := os.Lstat(path)
	if err != nil || !ownedByUs(info) || onlyOwner(path, info, "600") != nil {
		return "", false
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	dataDir = string(bytes.TrimRight(b, "\n"))
	return dataDir, filepath.IsAbs(dataDir)
}

// runtimeDir is the first of $XDG_RUNTIME_DIR/waybill, the user's cache directory and /tmp/waybill-<uid>. It is made if need
// be; one that somebody else owns or can enter is refused, not passed over: somebody may be trying something.
func runtimeDir() (string, error) {
	dir := filepath.Join(os.TempDir(), "waybill-"+strconv.Itoa(os.Getuid()))
	if x := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(x) {
		dir = filepath.Join(x, "waybill")
	} else if c, err := os.UserCacheDir(); err == nil && filepath.IsAbs(c) && !strings.HasPrefix(c, "/nonexistent") {
		dir = filepath.Join(c, "waybill", "run")
	}
	if err := privateDir(dir); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "%s can't be read", dir)
	}
	if !ownedByUs(info) {
		return "", fault.New(fault.FailedPrecondition, "%s belongs to another user: remove it, or set XDG_RUNTIME_DIR", dir)
	}
	return dir, nil
}
