package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
)

// partial is what a file is called until it is whole.
const partial = ".partial"

// CreateFile is Create into a file that has its name only when it is whole and on the disk; its size is returned as well.
// A file of that name is never replaced. What a killed one left is taken over by the next of the same name.
func CreateFile(ctx context.Context, nc *nats.Conn, name string, o CreateOptions) (m *Manifest, size int64, err error) {
	if _, err := os.Lstat(name); err == nil {
		return nil, 0, fmt.Errorf("%s: %w; an archive is never written over", name, fs.ErrExist)
	}
	if o.Temp == "" {
		o.Temp = filepath.Dir(name)
	}
	f, err := lockedFile(name + partial)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	defer func() {
		if err != nil && m == nil {
			_ = os.Remove(f.Name())
		}
	}()
	made, err := Create(ctx, nc, f, o)
	if err != nil {
		return nil, 0, err
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return nil, 0, err
	}
	if err := f.Sync(); err != nil {
		return nil, 0, err
	}
	if err := rename(f.Name(), name); err != nil {
		return nil, 0, err
	}
	return made, size, syncDir(filepath.Dir(name))
}

// lockedFile makes a file that nobody else is writing, or empties one that a killed process left. The lock goes with the
// file's end or the process's.
func lockedFile(name string) (*os.File, error) {
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("%s cannot be written: %w", name, plain(err))
		}
		if err := lock(f); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("%s is being written by another backup", name)
		}
		is, err := f.Stat()
		if now, nerr := os.Stat(name); err == nil && (nerr != nil || !os.SameFile(is, now)) { // it was finished meanwhile
			_ = f.Close()
			continue
		}
		if err == nil {
			err = f.Truncate(0)
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("%s cannot be written: %w", name, plain(err))
		}
		return f, nil
	}
}

// rename gives a file its name unless another has it by now.
func rename(from, to string) error {
	err := renameOnly(from, to)
	if errors.Is(err, errors.ErrUnsupported) {
		if err = os.Link(from, to); err == nil {
			return os.Remove(from)
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w; an archive is never written over", to, fs.ErrExist)
	}
	return os.Rename(from, to) // a file system without links
}

// syncDir makes a new name in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// plain leaves the path out of a file's error.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// temporary is a file without a name, where the system allows that: a killed process leaves nothing.
type temporary struct {
	*os.File
	name string // to be removed when it is closed
}

func newTemporary(dir string) (temporary, error) {
	dir = cmp.Or(dir, os.TempDir())
	if f, err := nameless(dir); err == nil {
		return temporary{f, ""}, nil
	}
	f, err := os.CreateTemp(dir, ".deltran-bus-*"+partial)
	if err != nil {
		return temporary{}, fmt.Errorf("a temporary file in %s: %w", dir, plain(err))
	}
	if err := os.Remove(f.Name()); err == nil {
		return temporary{f, ""}, nil
	}
	return temporary{f, f.Name()}, nil
}

func (t temporary) close() {
	_ = t.Close()
	if t.name != "" {
		_ = os.Remove(t.name)
	}
}
