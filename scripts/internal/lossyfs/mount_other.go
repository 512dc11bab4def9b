//go:build !linux

package lossyfs

import "errors"

var errLinux = errors.New("mounting takes Linux")

// Available says why there can be no mount on this machine, or nil.
func Available() error { return errLinux }

// OwnMounts gives the program mounts of its own.
func OwnMounts() error { return errLinux }

// A Mounted is a Recorder that programs can use as a folder.
type Mounted struct{ *Recorder }

// Mount makes dir, an empty folder, show what base holds.
func Mount(string, *Tree) (*Mounted, error) { return nil, errLinux }

// Close takes the mount away.
func (*Mounted) Close() error { return nil }
