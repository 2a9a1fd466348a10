package view

// BootMark is for the tests of what a start checks.
var BootMark = bootMark

// Remembered is how many rows the writer knows without a look-up.
func Remembered(v *View) int {
	v.writing <- struct{}{}
	defer func() { <-v.writing }()
	return len(v.store.recent.young) + len(v.store.recent.old)
}

// RestNow has the time without events be over now; false where it was not running.
func RestNow(v *View) bool { return v.idle.Reset(0) }
