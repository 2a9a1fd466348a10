package sandbox

import (
	"testing"

	"waybill/internal/quick/quicktest"
)

// TestPlain: the books are written and read without the codec.
func TestPlain(t *testing.T) { quicktest.Compare(t, Entry{}, account{}) }
