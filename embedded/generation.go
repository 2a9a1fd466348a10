package embedded

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"waybill/internal/fault"
)

// A directory's generations are dir, dir-2, dir-3, …: each a copy of the one before it, made when who used that one could not
// be trusted to be gone. The highest is the one in use. A copy is dir-N.new until it is whole and durable.

const unfinished = ".new"

// generations returns the numbers of dir's generations that exist, and the highest; 1 is dir itself.
func generations(dir string) (all []int, highest int, err error) {
	if _, err := os.Stat(dir); err == nil {
		all, highest = append(all, 1), 1
	}
	names, err := filepath.Glob(globEscape(dir) + "-*")
	if err != nil {
		return nil, 0, fault.Wrap(err, fault.Internal, "the generations of %s can't be found", dir)
	}
	for _, name := range names {
		if n, err := strconv.Atoi(strings.TrimPrefix(name, dir+"-")); err == nil && n > 1 {
			all, highest = append(all, n), max(highest, n)
		}
	}
	return all, highest, nil
}

func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func generation(dir string, n int) string {
	if n == 1 {
		return dir
	}
	return dir + "-" + strconv.Itoa(n)
}

// adoptGeneration names the highest generation dir, and removes the others. Nobody may use any of them. Error: unavailable.
func adoptGeneration(dir string) error {
	all, highest, err := generations(dir)
	if err != nil || highest <= 1 {
		return err
	}
	for _, n := range all {
		if n != highest {
			err = errors.Join(err, os.RemoveAll(generation(dir, n)))
		}
	}
	err = errors.Join(err, os.RemoveAll(generation(dir, highest+1)+unfinished))
	if err = errors.Join(err, os.Rename(generation(dir, highest), dir)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be taken for %s: check the owner and mode of both", generation(dir, highest), dir)
	}
	return syncDir(filepath.Dir(dir))
}

// nextGeneration copies the highest generation, as the disk holds it, to the next one and returns that; the others are removed.
// Error: unavailable.
func nextGeneration(dir string, disk *Disk) (string, error) {
	all, highest, err := generations(dir)
	if err != nil {
		return "", err
	}
	from, to := generation(dir, highest), generation(dir, highest+1)
	if err := disk.Reread(from); err != nil {
		return "", err
	}
	err = errors.Join(os.RemoveAll(to+unfinished), copyTree(from, to+unfinished))
	if err == nil {
		err = errors.Join(os.Rename(to+unfinished, to), syncDir(filepath.Dir(dir)))
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "%s can't be copied", from)
	}
	for _, n := range all {
		_ = os.RemoveAll(generation(dir, n)) // the highest counts, whatever else is there
	}
	return to, nil
}

// copyTree copies the directories and regular files of from into to, durably.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rest)
		switch {
		case e.IsDir():
			if err := os.MkdirAll(target, dirMode); err != nil {
				return err
			}
			return syncDir(filepath.Dir(target))
		case e.Type().IsRegular():
			return copyFile(path, target)
		}
		return nil
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close(), syncDir(filepath.Dir(to)))
}
