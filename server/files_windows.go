package server

import (
	"os"

	"golang.org/x/sys/windows"
)

// roomOn looks at the file system that the folder is on.
func roomOn(dir string) (v Room, err error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return Room{}, err
	}
	return v, windows.GetDiskFreeSpaceEx(p, &v.Free, &v.Size, nil)
}

// usable is an error if this process may not read and write the file, or use the folder.
func usable(path string, folder bool) error {
	flag := os.O_RDWR
	if folder {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// openFiles is how many files this process may have open; here nothing says so.
func openFiles() (n uint64, limited bool) { return 0, false }
