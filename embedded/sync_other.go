//go:build !linux

package embedded

import "errors"

func openSync(string) (sync, release func() error, err error) {
	return nil, nil, errors.New("only Linux can sync a whole file system")
}
