// Package lossyfs is a file system that can lose power. What programs see is what they wrote, as from a page cache; every
// operation is recorded in its order, and Disk tells from the record what a disk may hold when the power goes after any
// one of them. So one run of a program can be cut at every single file operation, as often as wanted and always alike.
//
//	m, err := lossyfs.Mount(dir, nil)   // a real mount, by FUSE; the program runs on it
//	n := m.Len()                        // so many operations so far: whatever is promised now has to survive any cut from here
//	disk := lossyfs.Disk(m.Base(), m.Ops()[:n], lossyfs.Journal, lossyfs.Random(seed))
//	err = disk.WriteTo(folder)          // a plain folder, for the program to start on again
//
// Everything but Mount is pure.
package lossyfs

import (
	"fmt"
	"time"
)

// Root is the inode of the uppermost folder.
const Root uint64 = 1

// A Kind says what an operation does.
type Kind uint8

const (
	Create   Kind = iota // an inode and its entry: a file, a folder or a symbolic link
	Link                 // one more entry for an inode
	Remove               // an entry: unlink and rmdir
	Rename               // an entry to another name, over what was there
	Truncate             // a file to a size, smaller or larger
	Write                // bytes into a file
	Chmod                // permissions
	Sync                 // fsync or fdatasync of a file or folder, at the moment it is answered
)

// An Op is one operation that succeeded. Fields that a kind does not need are zero.
type Op struct {
	Kind     Kind
	Ino      uint64 // the inode that it is about
	Dir      uint64 // Create, Link, Remove, Rename: the folder
	Name     string // and the name in it
	ToDir    uint64 // Rename: where to
	ToName   string
	Replaced uint64 // Rename: what was there, or 0
	Mode     uint32 // Create, Chmod: type and permissions, as in stat
	Target   string // Create: where a symbolic link points to
	Off      int64  // Write
	Data     []byte // Write; shared with the record, not to be changed
	Size     int64  // Truncate
	DataOnly bool   // Sync: fdatasync
	At       time.Time
}

// String is for people who look for the operation that made the difference.
func (o Op) String() string {
	switch o.Kind {
	case Create:
		return fmt.Sprintf("create %d/%s as %d, mode %o", o.Dir, o.Name, o.Ino, o.Mode)
	case Link:
		return fmt.Sprintf("link %d as %d/%s", o.Ino, o.Dir, o.Name)
	case Remove:
		return fmt.Sprintf("remove %d/%s (%d)", o.Dir, o.Name, o.Ino)
	case Rename:
		return fmt.Sprintf("rename %d/%s (%d) to %d/%s", o.Dir, o.Name, o.Ino, o.ToDir, o.ToName)
	case Truncate:
		return fmt.Sprintf("truncate %d to %d", o.Ino, o.Size)
	case Write:
		return fmt.Sprintf("write %d, %d bytes at %d", o.Ino, len(o.Data), o.Off)
	case Chmod:
		return fmt.Sprintf("chmod %d to %o", o.Ino, o.Mode)
	case Sync:
		if o.DataOnly {
			return fmt.Sprintf("fdatasync %d", o.Ino)
		}
		return fmt.Sprintf("fsync %d", o.Ino)
	}
	return fmt.Sprintf("operation %d", o.Kind)
}

// about reports which inodes the operation changes, the entries of folders included.
func (o Op) about() [4]uint64 { return [4]uint64{o.Ino, o.Dir, o.ToDir, o.Replaced} }
