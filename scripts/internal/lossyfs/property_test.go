package lossyfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"testing"
)

// FuzzCut does what the bytes say, two a call, cuts after every operation, and holds the disk to what the semantics promise,
// by rules that know nothing of how a disk is made.
func FuzzCut(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 12 {
		calls := make([]byte, 80)
		for i := range calls {
			calls[i] = byte(r.Uint32())
		}
		f.Add(calls, r.Uint64())
	}
	f.Fuzz(func(t *testing.T, calls []byte, seed uint64) {
		calls = calls[:min(len(calls), 400)]
		s := newStory(t, nil)
		for i := 0; i+1 < len(calls); i += 2 {
			random(s, calls[i], calls[i+1])
		}
		ops := s.Ops()
		var lives []*Tree // as programs saw it, after so many operations
		live := NewTree()
		for n := 0; ; n++ {
			lives = append(lives, snapshot(live))
			if n == len(ops) {
				break
			}
			live.apply(ops[n])
		}
		for n := range len(ops) + 1 {
			for _, sem := range []Semantics{Journal, Strict} {
				for _, fate := range []Fate{Keep, Drop, Random(seed), Random(seed + uint64(n))} {
					disk := Disk(s.Base(), ops[:n], sem, fate)
					if fate.keep && disk.Hash() != lives[n].Hash() {
						t.Fatalf("%s: kept after %d: %s, not %s", sem, n, show(disk), show(lives[n]))
					}
					goesOn(t, disk)
					bytesWereWritten(t, disk, lives[:n+1])
					syncedIsThere(t, disk, ops[:n], lives, sem)
					if sem == Journal {
						namesOfOneMoment(t, disk, lives[:n+1])
					}
				}
			}
		}
	})
}

// goesOn uses every folder and file of a disk as the next server does.
func goesOn(t *testing.T, disk *Tree) {
	t.Helper()
	s := newStory(t, disk)
	_ = disk.walk(func(p string, n *node) error {
		if n.isDir() {
			s.create(path.Join(p, "new"))
		} else {
			s.write(p, 0, "new")
		}
		return nil
	})
	_ = disk.walk(func(p string, n *node) error {
		if n.isDir() {
			s.remove(path.Join(p, "new"), false)
		}
		return nil
	})
}

var someNames = []string{"a", "b", "d", "e"}

// random is one call; whether it succeeds depends on those before.
func random(s story, what, which byte) {
	inodes := slices.Sorted(maps.Keys(s.live.nodes))
	ino := inodes[int(which)%len(inodes)]
	dir := inodes[int(which/4)%len(inodes)]
	name, other := someNames[which%4], someNames[which/4%4]
	switch what % 12 {
	case 0:
		_, _ = s.Make(dir, name, typeDir|0o700, "")
	case 1, 2:
		_, _ = s.Make(dir, name, typeFile|0o600, "")
	case 3:
		_ = s.Remove(dir, name, which > 128)
	case 4:
		_ = s.Rename(dir, name, inodes[int(which/16)%len(inodes)], other, false)
	case 5:
		_ = s.Truncate(ino, int64(what)*7)
	case 6, 7, 8:
		_ = s.WriteAt(ino, bytes.Repeat([]byte{what}, 1+int(which)*11), int64(what)*13)
	case 9:
		_, _ = s.Link(ino, dir, name)
	default:
		_ = s.Sync(ino, which > 200)
	}
}

func snapshot(t *Tree) *Tree {
	c := t.clone()
	for _, n := range c.nodes {
		n.data = slices.Clone(n.data)
	}
	return c
}

// Every byte on the disk is one that the file once had there, or a zero that came with its size.
func bytesWereWritten(t *testing.T, disk *Tree, lives []*Tree) {
	t.Helper()
	_ = disk.walk(func(p string, n *node) error {
		ino := inoOf(disk, n)
		for i, b := range n.data {
			if b != 0 && !slices.ContainsFunc(lives, func(l *Tree) bool {
				was := l.nodes[ino]
				return was != nil && i < len(was.data) && was.data[i] == b
			}) {
				t.Fatalf("byte %d of %s is %d and never was", i, p, b)
			}
		}
		return nil
	})
}

func inoOf(tree *Tree, n *node) uint64 {
	for ino, m := range tree.nodes {
		if m == n {
			return ino
		}
	}
	return 0
}

// A file is on the disk as it was at its last fsync, unless it was changed since; under the name that it had, unless that or
// a folder above was, and, without a journal, where the folder was synced with that name in it, and each above with its own.
func syncedIsThere(t *testing.T, disk *Tree, ops []Op, lives []*Tree, sem Semantics) {
	t.Helper()
	for i, o := range ops {
		if o.Kind != Sync || lives[i].nodes[o.Ino].isDir() {
			continue
		}
		at := lives[i]
		if changed(ops[i:], func(o2 Op) bool { return o2.Ino == o.Ino && (o2.Kind == Write || o2.Kind == Truncate) }) {
			continue
		}
		if n := disk.nodes[o.Ino]; n != nil && !bytes.Equal(n.data, at.nodes[o.Ino].data) {
			t.Fatalf("%s: %s: %s, not %s", sem, o, runs(n.data), runs(at.nodes[o.Ino].data))
		}
		_ = at.walk(func(p string, n *node) error {
			if n != at.nodes[o.Ino] || !promised(ops, i, at, p, sem) {
				return nil
			}
			got := reach(disk, p)
			if got == nil || !bytes.Equal(got.data, n.data) {
				t.Fatalf("%s: %s (operation %d of %d) promised %s; the disk has %s", sem, o, i, len(ops), p, show(disk))
			}
			return nil
		})
	}
}

func changed(ops []Op, is func(Op) bool) bool { return slices.ContainsFunc(ops, is) }

// promised says whether the names on the way to p, there at operation i, an fsync, are kept by it or others.
func promised(ops []Op, i int, at *Tree, p string, sem Semantics) bool {
	dir := Root
	for _, name := range splitPath(p) {
		ino := at.nodes[dir].entries[name]
		touches := func(o Op) bool {
			return o.Dir == dir && o.Name == name || o.ToDir == dir && o.ToName == name
		}
		if changed(ops[i:], touches) {
			return false
		}
		made := lastIndex(ops[:i], touches)
		switch {
		case sem == Strict:
			if !changed(ops[made:], func(o Op) bool { return o.Kind == Sync && o.Ino == dir }) {
				return false
			}
		default:
			// The fsync is for the file: what concerned its folders after it last was concerned itself may come later.
			self := lastIndex(ops[:i], func(o Op) bool {
				return o.Kind != Sync && o.Kind != Write && slices.Contains(one(o.about()), ops[i].Ino)
			})
			if made > self || ops[i].DataOnly && !changed(ops[made:i], func(o Op) bool { return o.Kind == Create && o.Ino == ops[i].Ino }) {
				return false
			}
		}
		dir = ino
	}
	return true
}

func one(a [4]uint64) []uint64 { return a[:] }

func lastIndex(ops []Op, is func(Op) bool) int {
	for i := len(ops) - 1; i >= 0; i-- {
		if is(ops[i]) {
			return i
		}
	}
	return 0
}

func splitPath(p string) (names []string) {
	for p != "." && p != "" {
		names = append(names, path.Base(p))
		p = path.Dir(p)
	}
	slices.Reverse(names)
	return names
}

func reach(t *Tree, p string) *node {
	ino := Root
	for _, name := range splitPath(p) {
		var ok bool
		if ino, ok = t.nodes[ino].entries[name]; !ok {
			return nil
		}
	}
	return t.nodes[ino]
}

// With a journal the names are those of one moment.
func namesOfOneMoment(t *testing.T, disk *Tree, lives []*Tree) {
	t.Helper()
	if !slices.ContainsFunc(lives, func(l *Tree) bool { return sameNames(disk, l) }) {
		t.Fatalf("such names there never were: %s", show(disk))
	}
}

func sameNames(a, b *Tree) bool {
	names := func(t *Tree) map[string]uint64 {
		all := map[string]uint64{}
		_ = t.walk(func(p string, n *node) error {
			all[p] = inoOf(t, n)
			return nil
		})
		return all
	}
	return maps.Equal(names(a), names(b))
}
