//go:build unix

package backup

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a file for this process, or returns an error at once.
const canLock = true

func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// syncDisks writes everything that this machine has in its page cache to its disks, and waits for it.
func syncDisks() { unix.Sync() }
