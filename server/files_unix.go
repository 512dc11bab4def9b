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

// usable is an error if this process may not read and write the file, or use the folder.
func usable(path string, folder bool) error {
	mode := uint32(unix.R_OK | unix.W_OK)
	if folder {
		mode |= unix.X_OK
	}
	return unix.Access(path, mode)
}

// openFiles is how many files this process may have open.
func openFiles() (n uint64, limited bool) {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0, false
	}
	return uint64(l.Cur), true
}
