package embedded

import (
	"encoding/binary"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
)

// dropUnreadable removes the state of durable consumers that the server could not read: it would neither bring such a consumer
// back nor let it be made again. The server writes the state without a sync, and a power cut may leave a file of zeros. The
// consumer then begins at the journal's start, which costs time and nothing else: what a consumer did stands in the journal.
// It must run before the server starts. Error: unavailable where a file can't be read or removed.
func dropUnreadable(storeDir string, log zerolog.Logger) error {
	files, err := filepath.Glob(filepath.Join(storeDir, "jetstream", "*", "streams", "*", "obs", "*", "o.dat"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && !readableState(text) {
			log.Warn().Str("file", file).Msg("a power cut has damaged what a consumer had acknowledged: it reads the journal from the start")
			err = os.Remove(file)
		}
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, "the state %s of a consumer can't be read or removed: check its owner and mode", file)
		}
	}
	return nil
}

// readableState reports whether the server will take this for a consumer's state: nothing at all, or its magic number, a
// version, and then at least four numbers and two lengths, all of them whole.
func readableState(b []byte) bool {
	const magic, atLeast = 22, 6
	if len(b) == 0 {
		return true
	}
	if len(b) < 2 || b[0] != magic || b[1] != 1 && b[1] != 2 {
		return false
	}
	n := 0
	for b = b[2:]; len(b) > 0; n++ {
		_, size := binary.Uvarint(b)
		if size <= 0 {
			return false
		}
		b = b[size:]
	}
	return n >= atLeast
}
