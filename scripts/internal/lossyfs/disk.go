package lossyfs

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
)

// Semantics says what a file system promises about a cut.
type Semantics int

const (
	// Journal is what ext4 and xfs do as they come: operations on names, sizes and permissions reach the disk in their
	// order, so that after a cut there are all of them up to some moment. An fsync takes to the disk the bytes of its file
	// and those operations up to the last that concerned it, the names of the folders above included; up to the fsync
	// itself where it had to make room for new bytes. Bytes without an fsync are there in part, in any order, old and new
	// by the sector, or as zeroes where the file has grown.
	Journal Semantics = iota
	// Strict is what POSIX alone promises: an fsync of a file takes its bytes to the disk and none of its names; each name
	// in a folder is as it was at the folder's last fsync or at any time since, each for itself, a rename's two included.
	Strict
)

func (s Semantics) String() string {
	if s == Strict {
		return "strict"
	}
	return "journal"
}

// A Fate decides what becomes of everything that a cut may take or leave.
type Fate struct {
	keep, drop bool
	seed       uint64
}

var (
	// Keep loses nothing: only the program died.
	Keep = Fate{keep: true}
	// Drop loses whatever may be lost.
	Drop = Fate{drop: true}
)

// Random loses, tears and mixes, alike for the same seed.
func Random(seed uint64) Fate { return Fate{seed: seed} }

// dice are a fate's decisions about one inode or name.
type dice struct {
	Fate
	*rand.Rand
}

func (f Fate) dice(about uint64) dice { return dice{f, rand.New(rand.NewPCG(f.seed, about))} }

// upTo is between low and high; what it counts is kept up to there.
func (d dice) upTo(low, high int) int {
	switch {
	case d.keep:
		return high
	case d.drop:
		return low
	}
	return low + d.IntN(high-low+1)
}

// Disk is what a disk that held base may hold after the power went when the last of ops was done. It shares bytes with base
// and ops.
func Disk(base *Tree, ops []Op, s Semantics, f Fate) *Tree {
	h := study(base, ops)
	if s == Strict {
		return strictDisk(base, ops, h, f)
	}
	return journalDisk(base, ops, h, f)
}

// A history is what a disk depends on, by inode where it is a map.
type history struct {
	synced    map[uint64]int // the bytes of operations before this one are on the disk
	bytes     map[uint64][]int
	committed int // with a journal: so are the other operations before this one
}

// study reads the record once.
func study(base *Tree, ops []Op) history {
	h := history{synced: map[uint64]int{}, bytes: map[uint64][]int{}}
	size := map[uint64]int64{}   // as programs see it
	concern := map[uint64]int{}  // the operation after the last that concerned an inode
	room := map[uint64]int{}     // the same for those that fdatasync waits for
	growing := map[uint64]bool{} // has bytes that need room, and no fsync yet
	for i, o := range ops {
		switch o.Kind {
		case Write:
			h.bytes[o.Ino] = append(h.bytes[o.Ino], i)
			if end := o.Off + int64(len(o.Data)); end > sizeOf(size, base, o.Ino) {
				size[o.Ino], growing[o.Ino] = end, true
			}
			continue // overwriting concerns no journal
		case Sync:
			h.synced[o.Ino] = i
			upTo := concern[o.Ino]
			switch {
			case growing[o.Ino]:
				upTo = i
			case o.DataOnly:
				upTo = room[o.Ino]
			}
			growing[o.Ino] = false
			h.committed = max(h.committed, upTo)
			continue
		case Truncate:
			h.bytes[o.Ino] = append(h.bytes[o.Ino], i)
			size[o.Ino] = o.Size
			room[o.Ino] = i + 1
		case Create:
			size[o.Ino] = 0
			room[o.Ino] = i + 1
		}
		for _, ino := range o.about() {
			concern[ino] = i + 1
		}
	}
	return h
}

func sizeOf(known map[uint64]int64, base *Tree, ino uint64) int64 {
	if size, ok := known[ino]; ok {
		return size
	}
	return int64(len(base.nodes[ino].data))
}

func journalDisk(base *Tree, ops []Op, h history, f Fate) *Tree {
	t := base.clone()
	upTo := f.dice(0).upTo(h.committed, len(ops))
	for _, o := range ops[:upTo] {
		if o.Kind != Write && o.Kind != Truncate {
			t.apply(o)
		}
	}
	for ino := range h.bytes {
		if n := t.nodes[ino]; n != nil {
			n.fill(ops, h.bytes[ino], h.synced[ino], upTo, f.dice(ino))
		}
	}
	return t
}

// fill gives a file the bytes and the time that it may have.
func (n *node) fill(ops []Op, about []int, synced, visible int, d dice) {
	n.data = content(n.data, ops, about, synced, visible, d)
	for _, i := range about {
		if i < visible {
			n.changed = ops[i].At
		}
	}
}

// A place is a name in a folder.
type place struct {
	dir  uint64
	name string
}

func strictDisk(base *Tree, ops []Op, h history, f Fate) *Tree {
	t := base.clone()
	became := map[place][]uint64{} // what each name has stood for since the folder's last fsync, 0 for nothing
	for i, o := range ops {
		change := func(dir uint64, name string, ino uint64) {
			if i < h.synced[dir] {
				if ino == 0 {
					delete(t.nodes[dir].entries, name)
				} else {
					t.nodes[dir].entries[name] = ino
				}
				t.nodes[dir].changed = o.At
				return
			}
			p := place{dir, name}
			became[p] = append(became[p], ino)
		}
		switch o.Kind {
		case Create:
			n := &node{mode: o.Mode, target: o.Target, changed: o.At}
			if n.isDir() {
				n.entries = map[string]uint64{}
			}
			t.nodes[o.Ino] = n
			t.next = max(t.next, o.Ino+1)
			change(o.Dir, o.Name, o.Ino)
		case Link:
			change(o.Dir, o.Name, o.Ino)
		case Remove:
			change(o.Dir, o.Name, 0)
		case Rename:
			change(o.Dir, o.Name, 0)
			change(o.ToDir, o.ToName, o.Ino)
		case Chmod:
			t.apply(o)
		}
	}
	places := slices.SortedFunc(maps.Keys(became), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.name, b.name))
	})
	for i, p := range places {
		entries := t.nodes[p.dir].entries
		if n := f.dice(1<<63+uint64(i)).upTo(0, len(became[p])); n > 0 {
			if entries[p.name] = became[p][n-1]; entries[p.name] == 0 {
				delete(entries, p.name)
			}
		}
	}
	for ino := range h.bytes {
		d := f.dice(ino)
		t.nodes[ino].fill(ops, h.bytes[ino], h.synced[ino], d.upTo(h.synced[ino], len(ops)), d)
	}
	t.mend()
	return t
}

// mend is fsck: a folder with two names keeps the first, and what has none is gone.
func (t *Tree) mend() {
	for _, n := range t.nodes {
		n.links = 0
	}
	t.nodes[Root].links = 1
	var down func(dir uint64)
	down = func(dir uint64) {
		entries := t.nodes[dir].entries
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			n := t.nodes[entries[name]]
			if n.isDir() && n.links > 0 {
				delete(entries, name)
				continue
			}
			n.links++
			if n.isDir() {
				n.parent = dir
				down(entries[name])
			}
		}
	}
	down(Root)
	maps.DeleteFunc(t.nodes, func(_ uint64, n *node) bool { return n.links == 0 })
}

// Unkept are the paths, as programs see them after the operations, of names that were given in a folder and not synced with
// it: with Strict they may be gone, and everything below them.
func Unkept(base *Tree, ops []Op) (paths []string) {
	h := study(base, ops)
	live, given := base.clone(), map[place]int{}
	for i, o := range ops {
		if o.Kind != Write && o.Kind != Truncate {
			live.apply(o)
		}
		switch o.Kind {
		case Create, Link:
			given[place{o.Dir, o.Name}] = i
		case Rename:
			given[place{o.ToDir, o.ToName}] = i
		}
	}
	var down func(dir uint64, above string)
	down = func(dir uint64, above string) {
		for _, name := range slices.Sorted(maps.Keys(live.nodes[dir].entries)) {
			if i, ok := given[place{dir, name}]; ok && i >= h.synced[dir] {
				paths = append(paths, path.Join(above, name))
			}
			if ino := live.nodes[dir].entries[name]; live.nodes[ino].isDir() {
				down(ino, path.Join(above, name))
			}
		}
	}
	down(Root, "")
	return paths
}
