package server

import (
	"fmt"

	"github.com/deltran/deltran-bus/config"
	"github.com/dustin/go-humanize"
)

// Room is what a file system still takes from this process.
type Room struct {
	Free, Size       uint64 // bytes
	FreeFiles, Files uint64 // how many more can be made, of how many; 0 of 0 where there is no such limit
}

// FreeSpace is how many bytes the folder's file system still takes from this process.
func FreeSpace(dir string) (uint64, error) {
	v, err := roomOn(dir)
	return v.Free, err
}

// bounds say what of a volume has to be free: below keep publishes are refused, from again on they are taken. There is
// a quarter in between, so that what little an expiry brings does not open the bus for a moment.
type bounds struct {
	keep, again uint64 // bytes
	files       uint64 // that can still be made
}

// fewFiles is how many files have to be possible still, or a twentieth of them all: a block of a stream is one, and so
// is what takes the place of another.
const fewFiles = 1000

func boundsOf(keep config.Headroom, v Room, message uint64) (b bounds) {
	if b.keep = keep.Of(v.Size, message); b.keep == 0 {
		return b
	}
	b.again = min(b.keep+b.keep/4, b.keep+(max(v.Size, b.keep)-b.keep)/2) // which a volume of that size can have
	b.files = min(fewFiles, v.Files/20)
	return b
}

// short says what is too little, in words; empty if nothing is. A bus that refuses already wants a little more.
func (b bounds) short(v Room, refusing bool) string {
	least, files := b.keep, b.files
	if refusing {
		least, files = b.again, b.files+b.files/4
	}
	switch {
	case v.Free < least:
		return fmt.Sprintf("%s of %s are free", humanize.IBytes(v.Free), humanize.IBytes(v.Size))
	case v.Files > 0 && v.FreeFiles < files:
		return fmt.Sprintf("%d more files can be made", v.FreeFiles)
	}
	return ""
}
