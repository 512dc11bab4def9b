//go:build unix

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that systemd compares a reload's beginning with.
func monotonic() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
