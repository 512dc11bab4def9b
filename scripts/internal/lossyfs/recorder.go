package lossyfs

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Recorder is the file system that programs see, and the record of what they did to it. Its methods are the calls of a
// file system; their errors are syscall.Errno. What fails is not recorded.
type Recorder struct {
	base *Tree

	mu   sync.Mutex
	live *Tree
	open map[uint64]int // open handles of an inode: one without a name lives as long as it has any
	ops  []Op
}

// NewRecorder starts with what base holds, all of it on the disk; nil is an empty file system. Base must not be changed
// afterwards.
func NewRecorder(base *Tree) *Recorder {
	if base == nil {
		base = NewTree()
	}
	live := base.clone()
	for _, n := range live.nodes {
		n.data = slices.Clone(n.data)
	}
	if root := live.nodes[Root]; root.changed.IsZero() {
		root.changed = time.Now()
	}
	return &Recorder{base: base, live: live, open: map[uint64]int{}}
}

// Base is what was on the disk before the first operation.
func (r *Recorder) Base() *Tree { return r.base }

// Len is the number of operations so far.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// Ops are the operations so far, in their order. They are not to be changed.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.ops)
}

func (r *Recorder) do(o Op) {
	o.At = time.Now()
	r.live.apply(o)
	r.ops = append(r.ops, o)
}

func (r *Recorder) dir(ino uint64) (*node, error) {
	n := r.live.nodes[ino]
	switch {
	case n == nil || n.links == 0:
		return nil, syscall.ENOENT
	case !n.isDir():
		return nil, syscall.ENOTDIR
	}
	return n, nil
}

// look finds an entry.
func (r *Recorder) look(dir uint64, name string) (*node, uint64, error) {
	d, err := r.dir(dir)
	if err != nil {
		return nil, 0, err
	}
	ino, ok := d.entries[name]
	if !ok {
		return nil, 0, syscall.ENOENT
	}
	return r.live.nodes[ino], ino, nil
}

// free says whether a name can be taken.
func (r *Recorder) free(dir uint64, name string) error {
	switch _, _, err := r.look(dir, name); err {
	case nil:
		return syscall.EEXIST
	case syscall.ENOENT:
		_, err = r.dir(dir)
		return err
	default:
		return err
	}
}

// A Stat is what there is to know about an inode.
type Stat struct {
	Ino     uint64
	Mode    uint32
	Size    int64
	Links   uint32
	Changed time.Time // st_mtime
}

func (r *Recorder) stat(ino uint64) Stat {
	n := r.live.nodes[ino]
	size := int64(len(n.data) + len(n.target))
	return Stat{ino, n.mode, size, n.links, n.changed}
}

// Lookup finds what has the name in the folder.
func (r *Recorder) Lookup(dir uint64, name string) (Stat, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ino, err := r.look(dir, name)
	if err != nil {
		return Stat{}, err
	}
	return r.stat(ino), nil
}

// Stat tells about an inode.
func (r *Recorder) Stat(ino uint64) (Stat, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live.nodes[ino] == nil {
		return Stat{}, syscall.ENOENT
	}
	return r.stat(ino), nil
}

// An Entry is one of a folder's.
type Entry struct {
	Name string
	Stat
}

// List is a folder's entries by name, without "." and "..".
func (r *Recorder) List(dir uint64) ([]Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.dir(dir)
	if err != nil {
		return nil, err
	}
	list := make([]Entry, 0, len(d.entries))
	for name, ino := range d.entries {
		list = append(list, Entry{name, r.stat(ino)})
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Open and Release say how long an inode without a name is needed.
func (r *Recorder) Open(ino uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[ino]++
}

// Release is Open's end.
func (r *Recorder) Release(ino uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[ino]--; r.open[ino] <= 0 {
		delete(r.open, ino)
		r.forget(ino)
	}
}

// forget lets go of the bytes of a file that nobody can reach any more. The inode stays, for what the kernel may ask late.
func (r *Recorder) forget(ino uint64) {
	if n := r.live.nodes[ino]; n != nil && n.links == 0 && r.open[ino] == 0 {
		n.data = nil
	}
}
