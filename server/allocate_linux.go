package server

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate has the file take its room for good.
func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return fillUp(f, size)
	}
	return err
}
