package configs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
)

// A setting of TypeSecret holds the name of a place, never what stands there: etcd and its backups are readable by many. The
// name is one of
const (
	secretFile = "file:" // and an absolute path: a regular file that holds the secret alone; white space around it is cut
	secretEnv  = "env:"  // and the name of a variable in the environment of every process of the site
)

// SecretEnvPrefix begins the names of the variables that a setting may name, so that no setting can make the program hand
// out what else stands in its environment.
const SecretEnvPrefix = envPrefix + "SECRET_"

const (
	maxSecret  = 4096 // bytes
	secretForm = `a name such as "file:/run/secrets/gateway" (an absolute path) or "env:` + SecretEnvPrefix + `GATEWAY" (a variable of that prefix), or "" for none; never the secret itself`
)

// Secret is a secret that has been read. It shows itself to nobody but Reveal's caller: printed, logged or encoded it is a
// placeholder.
type Secret struct{ text string }

// Reveal is the secret; empty where there is none.
func (s Secret) Reveal() string { return s.text }

// String is a placeholder.
func (s Secret) String() string { return "(secret)" }

// GoString is the placeholder, too.
func (s Secret) GoString() string { return s.String() }

// MarshalText is the placeholder, too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// goodReference reports whether text is the name of a place where a secret may stand, or empty.
func goodReference(text string) bool {
	if path, ok := strings.CutPrefix(text, secretFile); ok {
		return filepath.IsAbs(path) && filepath.Clean(path) == path && !strings.ContainsFunc(path, unprintable)
	}
	if name, ok := strings.CutPrefix(text, secretEnv); ok {
		own := strings.TrimPrefix(name, SecretEnvPrefix)
		return own != name && own != "" && strings.Trim(own, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
	}
	return text == ""
}

// CheckSecret reads the secret that a good value of a setting of TypeSecret names, to see that it is there; other settings
// have nothing to read. Error: failed_precondition with field "value".
func (s Setting) CheckSecret(value []byte) error {
	if s.Type != TypeSecret {
		return nil
	}
	var reference string
	if err := json.Unmarshal(value, &reference); err != nil {
		return s.refuse("must be %s", s.form())
	}
	_, err := readSecret(s.Key, reference)
	return err
}

func readSecret(key, reference string) (Secret, error) {
	if reference == "" {
		return Secret{}, nil
	}
	var text string
	var err error
	if path, ok := strings.CutPrefix(reference, secretFile); ok {
		text, err = readSecretFile(path)
	} else {
		text = os.Getenv(strings.TrimPrefix(reference, secretEnv))
	}
	text = strings.TrimSpace(text)
	// The cause is not shown: whoever may set a setting must not learn from it what stands on the disk.
	if err != nil || text == "" || len(text) > maxSecret || strings.ContainsFunc(text, unprintable) {
		return Secret{}, fault.Wrap(err, fault.FailedPrecondition,
			"%s names %s, where this process finds no secret: one line of printable ASCII, at most %d bytes", key, reference, maxSecret).WithField("value")
	}
	return Secret{text}, nil
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

var errNoFile = errors.New("it is no regular file")

func readSecretFile(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to must not hold us up
	if err != nil {
		return "", err
	}
	defer f.Close()
	switch info, err := f.Stat(); {
	case err != nil:
		return "", err
	case info.Mode()&fs.ModeType != 0:
		return "", errNoFile
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+64))
	return string(text), err
}
