package embedded

import (
	"errors"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"

	"waybill/internal/fault"
)

// passes are the errors of the system that say nothing of the files and of the configuration: what they are about may be well later.
var passes = []syscall.Errno{
	syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.EINTR, syscall.ENOBUFS,
	syscall.ETIMEDOUT, syscall.ESTALE, syscall.ENXIO, syscall.ENODEV,
}

// passing reports whether err is such an error.
func passing(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(passes, errno)
}

// namesPassing reports whether a text, which is all that is left of an error, names such an error.
func namesPassing(text string) bool {
	return slices.ContainsFunc(passes, func(e syscall.Errno) bool { return strings.Contains(text, e.Error()) })
}

// errLasting is the cause of what etcd's process called lasting.
var errLasting = errors.New("somebody has to mend it")

// lasting reports whether a start failed for what somebody has to mend: a port that is taken, an owner, data of another version. All else
// may pass by itself.
func lasting(err error) bool {
	if passing(err) {
		return false
	}
	if code := fault.CodeOf(err); code != fault.Unavailable && code != fault.DeadlineExceeded {
		return true
	}
	var op *net.OpError
	return errors.Is(err, errLasting) || errors.Is(err, fs.ErrPermission) || errors.As(err, &op)
}

// launchError is why the process can't be started, for whoever can change that.
func launchError(err error) error {
	do := "it is tried again"
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		do = "check the limits on processes and memory"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		do = "check the limit on open files"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		do = "this program starts itself again, so its file must be there and may be run, or /proc be mounted"
	}
	return fault.New(fault.Unavailable, "etcd's process can't be started (%v): %s", err, do) // without its cause: no error here is lasting
}
