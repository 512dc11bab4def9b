//go:build unix

package server

import "golang.org/x/sys/unix"

// FreeSpace is how many bytes the folder's file system still takes from this process.
func FreeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
