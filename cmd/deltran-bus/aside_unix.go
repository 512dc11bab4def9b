//go:build unix && !linux

package main

import "golang.org/x/sys/unix"

// standAside leaves the processors to others where there are too few, as well as it may.
func standAside() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, 19) }
