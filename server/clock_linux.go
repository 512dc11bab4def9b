package server

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// bootID tells one start of the machine from another; empty where the system does not say.
var bootID = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
})

// clockSynchronised reports whether somebody keeps the machine's clock right: what timedatectl and chrony tell the kernel.
func clockSynchronised() bool {
	state, err := unix.Adjtimex(&unix.Timex{})
	return err == nil && state != unix.TIME_ERROR
}
