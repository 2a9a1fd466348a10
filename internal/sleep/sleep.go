// Package sleep waits.
package sleep

import (
	"context"
	"time"
)

// For waits for d, which may be negative, and reports whether the time has passed; false means that ctx ended first, or had ended before.
func For(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
