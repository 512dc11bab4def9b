//go:build unix

package server

import "golang.org/x/sys/unix"

// roomOn looks at the file system that the folder is on.
func roomOn(dir string) (v Room, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Room{}, err
	}
	block := uint64(st.Bsize)
	return Room{Free: uint64(st.Bavail) * block, Size: uint64(st.Blocks) * block, FreeFiles: uint64(st.Ffree), Files: uint64(st.Files)}, nil
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
