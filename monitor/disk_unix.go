//go:build linux || darwin

package monitor

import "syscall"

// diskFree is how many bytes somebody who is not root can still write to the disk that dir is on.
func diskFree(dir string) (uint64, bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return uint64(st.Bavail) * uint64(st.Bsize), true
}
