//go:build unix

package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// unread waits until nobody can read any more what is written to a pipe, and returns at once where nothing tells.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}} // errors and hang-ups are told unasked
	for {
		_, err := unix.Poll(fds, -1)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	}
}
