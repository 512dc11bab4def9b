package lossyfs

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OwnMounts gives the program mounts of its own, by starting it anew in its place: what it mounts from then on nobody else
// sees, and it is gone when the program and those it started are, however they end. Call it first in main. Where that cannot
// be done, it returns an error and the program goes on as it is.
func OwnMounts() error {
	const mark = "DELTRAN_OWN_MOUNTS"
	if os.Getenv(mark) != "" {
		return os.Unsetenv(mark)
	}
	runtime.LockOSThread() // exec makes this thread's mounts the program's
	defer runtime.UnlockOSThread()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	return unix.Exec(exe, os.Args, append(os.Environ(), mark+"=1"))
}
