package backup

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// nameless makes a file that never has a name. Not every file system can.
func nameless(dir string) (*os.File, error) {
	return os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
}

// renameOnly renames in one step, and is an fs.ErrExist if there is a file of that name.
func renameOnly(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // the file system cannot
		return errors.ErrUnsupported
	}
	return err
}
