//go:build !linux

package server

import "os"

// allocate has the file take its room for good.
func allocate(f *os.File, size int64) error { return fillUp(f, size) }
