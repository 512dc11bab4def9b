package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// lowest is the niceness of who only takes what nobody else wants of the processors.
const lowest = 19

// standAside leaves the processors to others where there are too few, such as to the bus that is being backed up, and the
// clients that publish to it. Linux has a niceness for each thread, which new ones take over from the one that makes them:
// it looks again until there is none left. It does as well as it may.
func standAside() {
	left := true
	for i := 0; left && i < 10; i++ {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		left = false
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			const kernels = 20 // Getpriority returns 20 - niceness
			if p, err := unix.Getpriority(unix.PRIO_PROCESS, id); err != nil || p == kernels-lowest {
				continue
			}
			left = unix.Setpriority(unix.PRIO_PROCESS, id, lowest) == nil || left
		}
	}
}
