package lossyfs

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// The types within a mode, as in stat.
const (
	typeMask = 0o170000
	typeFile = 0o100000
	typeDir  = 0o040000
	typeLink = 0o120000
)

// A Tree is the content of a file system at one moment: inodes by number, the root among them.
type Tree struct {
	nodes map[uint64]*node
	next  uint64 // the next inode number
}

type node struct {
	mode    uint32
	data    []byte            // of a file
	target  string            // of a symbolic link
	entries map[string]uint64 // of a folder
	parent  uint64            // of a folder
	links   uint32            // entries that lead here
	changed time.Time         // last, as stat tells it
}

func (n *node) isDir() bool { return n.mode&typeMask == typeDir }

// NewTree returns an empty one.
func NewTree() *Tree {
	return &Tree{map[uint64]*node{Root: {mode: typeDir | 0o755, entries: map[string]uint64{}, links: 1}}, Root + 1}
}

// clone shares the bytes in files with the tree that it comes from: they must not be written to.
func (t *Tree) clone() *Tree {
	c := &Tree{make(map[uint64]*node, len(t.nodes)), t.next}
	for ino, n := range t.nodes {
		m := *n
		m.entries = maps.Clone(n.entries)
		c.nodes[ino] = &m
	}
	return c
}

// apply makes what an operation says, so that the live file system and every replay of its record go the same way.
func (t *Tree) apply(o Op) {
	n := t.nodes[o.Ino]
	switch o.Kind {
	case Create:
		n = &node{mode: o.Mode, target: o.Target, changed: o.At}
		if n.isDir() {
			n.entries, n.parent = map[string]uint64{}, o.Dir
		}
		t.nodes[o.Ino] = n
		t.next = max(t.next, o.Ino+1)
		t.enter(o.Dir, o.Name, o.Ino)
	case Link:
		t.enter(o.Dir, o.Name, o.Ino)
	case Remove:
		t.leave(o.Dir, o.Name)
	case Rename:
		if o.Replaced != 0 {
			t.leave(o.ToDir, o.ToName)
		}
		t.leave(o.Dir, o.Name)
		t.enter(o.ToDir, o.ToName, o.Ino)
		if n.isDir() {
			n.parent = o.ToDir
		}
	case Truncate:
		n.data, n.changed = resized(n.data, o.Size), o.At
	case Write:
		n.data, n.changed = written(n.data, o.Off, o.Data), o.At
	case Chmod:
		n.mode = n.mode&typeMask | o.Mode&^typeMask
	}
	for _, dir := range []uint64{o.Dir, o.ToDir} {
		if dir != 0 {
			t.nodes[dir].changed = o.At
		}
	}
}

func (t *Tree) enter(dir uint64, name string, ino uint64) {
	t.nodes[dir].entries[name] = ino
	t.nodes[ino].links++
}

func (t *Tree) leave(dir uint64, name string) {
	d := t.nodes[dir]
	t.nodes[d.entries[name]].links--
	delete(d.entries, name)
}

// resized and written work in place where there is room.
func resized(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

func written(data []byte, off int64, b []byte) []byte {
	if off == int64(len(data)) {
		return append(data, b...)
	}
	data = resized(data, max(off+int64(len(b)), int64(len(data))))
	copy(data[off:], b)
	return data
}

// walk calls f for everything below the root in the order of the paths; an inode with two names comes twice.
func (t *Tree) walk(f func(path string, n *node) error) error {
	var down func(dir string, n *node) error
	down = func(dir string, n *node) error {
		for _, name := range slices.Sorted(maps.Keys(n.entries)) {
			child, p := t.nodes[n.entries[name]], path.Join(dir, name)
			if err := f(p, child); err != nil {
				return err
			}
			if child.isDir() {
				if err := down(p, child); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return down("", t.nodes[Root])
}

// Files is every file by its path, such as "store/jetstream/x", with its content; folders end in a slash, and a symbolic
// link's content is what it points to. For tests, and for people who look at a disk.
func (t *Tree) Files() map[string]string {
	files := map[string]string{}
	_ = t.walk(func(p string, n *node) error {
		switch {
		case n.isDir():
			files[p+"/"] = ""
		case n.mode&typeMask == typeLink:
			files[p] = n.target
		default:
			files[p] = string(n.data)
		}
		return nil
	})
	return files
}

// Hash is the same for trees with the same files, names and permissions.
func (t *Tree) Hash() [sha256.Size]byte {
	h := sha256.New()
	_ = t.walk(func(p string, n *node) error {
		var head [12]byte
		binary.LittleEndian.PutUint32(head[:], n.mode)
		binary.LittleEndian.PutUint64(head[4:], uint64(len(n.data)))
		fmt.Fprintf(h, "%q %q %s", p, n.target, head[:])
		h.Write(n.data)
		return nil
	})
	return [sha256.Size]byte(h.Sum(nil))
}

// WriteTo makes the tree a plain folder, which must be empty or not be there. Files and folders keep the times of their last
// changes.
func (t *Tree) WriteTo(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var dirs []string
	times := map[string]time.Time{}
	err := t.walk(func(p string, n *node) error {
		p = filepath.Join(dir, filepath.FromSlash(p))
		perm := fs.FileMode(n.mode & 0o777)
		switch n.mode & typeMask {
		case typeDir:
			dirs = append(dirs, p)
			times[p] = n.changed
			return os.Mkdir(p, perm)
		case typeLink:
			return os.Symlink(n.target, p)
		}
		if err := os.WriteFile(p, n.data, perm); err != nil {
			return err
		}
		return os.Chtimes(p, n.changed, n.changed)
	})
	for _, p := range slices.Backward(dirs) { // what is made in them changes them
		err = errors.Join(err, os.Chtimes(p, times[p], times[p]))
	}
	return err
}

// Load reads a plain folder; all of it counts as on the disk.
func Load(dir string) (*Tree, error) {
	t := NewTree()
	dirs := map[string]uint64{".": Root}
	times := map[uint64]time.Time{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		o := Op{Kind: Create, Ino: t.next, Dir: dirs[filepath.Dir(rel)], Name: d.Name(), Mode: uint32(info.Mode().Perm()), At: info.ModTime()}
		var data []byte
		switch {
		case d.IsDir():
			o.Mode |= typeDir
			dirs[rel] = o.Ino
		case d.Type()&fs.ModeSymlink != 0:
			o.Mode |= typeLink
			o.Target, err = os.Readlink(p)
		case d.Type().IsRegular():
			o.Mode |= typeFile
			data, err = os.ReadFile(p)
		default:
			err = fmt.Errorf("%s: neither a file nor a folder nor a symbolic link", p)
		}
		t.apply(o)
		t.nodes[o.Ino].data = data
		times[o.Ino] = o.At
		return err
	})
	for ino, at := range times { // what is made in a folder changes it
		t.nodes[ino].changed = at
	}
	return t, err
}
