package server

import "golang.org/x/sys/windows"

// FreeSpace is how many bytes the folder's file system still takes from this process.
func FreeSpace(dir string) (free uint64, err error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	return free, windows.GetDiskFreeSpaceEx(p, &free, nil, nil)
}
