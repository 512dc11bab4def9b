package main

import "golang.org/x/sys/windows"

// standAside leaves the processors to others where there are too few, as well as it may.
func standAside() {
	_ = windows.SetPriorityClass(windows.CurrentProcess(), windows.BELOW_NORMAL_PRIORITY_CLASS)
}
