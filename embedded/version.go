package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
)

// Format is the number of the data directory's layout that this program writes. It reads this one and every older one.
const Format = 1

type versionFile struct {
	Format  int    `json:"format"`
	Program string `json:"program"`
}

// CheckVersion reads dir's version.json, and writes it (as the given program's) where there is none or an older one.
// Errors: failed_precondition where the directory is of a newer format, or the file says nothing that can be understood;
// in both cases nothing in the directory was touched.
func CheckVersion(dir, program string) error {
	path := filepath.Join(dir, "version.json")
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeVersion(path, program)
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, "%s can't be read", path)
	}
	var v versionFile
	if err := json.Unmarshal(b, &v); err != nil || v.Format < 1 {
		return fault.Wrap(err, fault.FailedPrecondition, "%s names no format of a data directory: restore it, or choose another --data", path)
	}
	if v.Format > Format {
		return fault.New(fault.FailedPrecondition,
			"%s was written by a newer program (%s, format %d, this one knows %d): use that one or choose another --data",
			dir, v.Program, v.Format, Format)
	}
	if v.Format == Format && v.Program == program {
		return nil
	}
	return writeVersion(path, program)
}

func writeVersion(path, program string) error {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	b, err := json.Marshal(versionFile{Format, program})
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the version could not be encoded")
	}
	if err := writeSecret(path, append(b, '\n')); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
