package lossyfs

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A story is a Recorder with paths, for tests; what goes wrong in it is a mistake in the test.
type story struct {
	*testing.T
	*Recorder
}

func newStory(t *testing.T, base *Tree) story { return story{t, NewRecorder(base)} }

func (s story) find(p string) (ino uint64) {
	s.Helper()
	ino = Root
	for _, name := range strings.Split(path.Clean("/" + p)[1:], "/") {
		if name == "" {
			return ino
		}
		st, err := s.Lookup(ino, name)
		if err != nil {
			s.Fatalf("%s: %v", p, err)
		}
		ino = st.Ino
	}
	return ino
}

func (s story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s story) mkdir(p string) {
	s.Helper()
	_, err := s.Make(s.find(path.Dir(p)), path.Base(p), typeDir|0o700, "")
	s.must(err)
}

func (s story) create(p string) {
	s.Helper()
	_, err := s.Make(s.find(path.Dir(p)), path.Base(p), typeFile|0o600, "")
	s.must(err)
}

func (s story) write(p string, off int, text string) {
	s.Helper()
	s.must(s.WriteAt(s.find(p), []byte(text), int64(off)))
}

func (s story) truncate(p string, size int) {
	s.Helper()
	s.must(s.Truncate(s.find(p), int64(size)))
}

func (s story) fsync(p string) {
	s.Helper()
	s.must(s.Sync(s.find(p), false))
}

func (s story) fdatasync(p string) {
	s.Helper()
	s.must(s.Sync(s.find(p), true))
}

func (s story) rename(p, q string) {
	s.Helper()
	s.must(s.Rename(s.find(path.Dir(p)), path.Base(p), s.find(path.Dir(q)), path.Base(q), false))
}

func (s story) remove(p string, folder bool) {
	s.Helper()
	s.must(s.Remove(s.find(path.Dir(p)), path.Base(p), folder))
}

// show is a disk on one line, long runs of one letter shortened.
func show(t *Tree) string {
	var words []string
	_ = t.walk(func(p string, n *node) error {
		if n.isDir() {
			words = append(words, p+"/")
		} else {
			words = append(words, p+"="+runs(n.data))
		}
		return nil
	})
	return strings.Join(words, " ")
}

func runs(data []byte) string {
	var b strings.Builder
	for i := 0; i < len(data); {
		j := i
		for j < len(data) && data[j] == data[i] {
			j++
		}
		c := string(data[i])
		if data[i] == 0 {
			c = "0"
		}
		if j-i > 1 {
			c += fmt.Sprint(j - i)
		}
		b.WriteString(c)
		i = j
	}
	return b.String()
}

// possible are the disks that 3,000 fates make of a story, with how often.
func possible(s story, sem Semantics) map[string]int {
	disks := map[string]int{show(Disk(s.Base(), s.Ops(), sem, Keep)): 1}
	disks[show(Disk(s.Base(), s.Ops(), sem, Drop))]++
	for seed := range uint64(3000) {
		disks[show(Disk(s.Base(), s.Ops(), sem, Random(seed)))]++
	}
	return disks
}

// Each story with everything that may be on the disk after it, and with what is there when all is lost that can be.
func TestWhatACutLeaves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		do              func(story)
		journal, strict string // what may be there, separated by |, the most lost first; * is a disk that is not spelled out
	}{
		{"nothing is safe without an fsync",
			func(s story) { s.create("a"); s.write("a", 0, "x") },
			"|a=|a=x|a=0", "|a=|a=x|a=0"},
		{"a file's fsync takes its name along, by journal only",
			func(s story) { s.create("a"); s.write("a", 0, "x"); s.fsync("a") },
			"a=x", "|a=x"},
		{"and so does fdatasync",
			func(s story) { s.create("a"); s.write("a", 0, "x"); s.fdatasync("a") },
			"a=x", "|a=x"},
		{"and the folders above",
			func(s story) { s.mkdir("d"); s.mkdir("d/e"); s.create("d/e/a"); s.fsync("d/e/a") },
			"d/ d/e/ d/e/a=", "|d/|d/ d/e/|d/ d/e/ d/e/a="},
		{"and everything that was made before it, though not what is in it",
			func(s story) { s.create("b"); s.write("b", 0, "y"); s.create("a"); s.fsync("a") },
			"a= b=|a= b=0|a= b=y", "|a=|b=|b=0|b=y|a= b=|a= b=0|a= b=y"},
		{"not what was made after it",
			func(s story) { s.create("a"); s.fsync("a"); s.create("b") },
			"a=|a= b=", "|a=|b=|a= b="},
		{"a folder's fsync is for its names, not for what is in the files",
			func(s story) { s.create("a"); s.write("a", 0, "x"); s.fsync("") },
			"a=|a=0|a=x", "a=|a=0|a=x"},
		{"a folder's own name is in the folder above",
			func(s story) { s.mkdir("d"); s.create("d/a"); s.fsync("d") },
			"d/ d/a=", "|d/ d/a="},
		{"every folder's fsync keeps a file's name without a journal",
			func(s story) {
				s.mkdir("d")
				s.fsync("")
				s.create("d/a")
				s.fsync("d")
				s.write("d/a", 0, "x")
				s.fsync("d/a")
			},
			"d/ d/a=x", "d/ d/a=x"},
		{"names come in their order, by journal only",
			func(s story) { s.create("a"); s.create("b"); s.create("c") },
			"|a=|a= b=|a= b= c=", "|a=|b=|c=|a= b=|a= c=|b= c=|a= b= c="},
		{"a rename without an fsync of what it brings leaves it empty",
			func(s story) {
				s.create("a")
				s.write("a", 0, "x")
				s.fsync("a")
				s.fsync("")
				s.create("t")
				s.write("t", 0, "y")
				s.rename("t", "a")
			},
			"a=x|a=x t=|a=x t=y|a=x t=0|a=|a=0|a=y", "a=x|a=x t=|a=x t=y|a=x t=0|a=|a=0|a=y|a= t=|a=0 t=0|a=y t=y"},
		{"a rename after an fsync brings old or new",
			func(s story) {
				s.create("a")
				s.write("a", 0, "x")
				s.fsync("a")
				s.fsync("")
				s.create("t")
				s.write("t", 0, "y")
				s.fsync("t")
				s.rename("t", "a")
			},
			"a=x t=y|a=y", "a=x|a=x t=y|a=y|a=y t=y"},
		{"an fsync after the rename makes it new",
			func(s story) {
				s.create("a")
				s.fsync("")
				s.create("t")
				s.write("t", 0, "y")
				s.fsync("t")
				s.rename("t", "a")
				s.fsync("")
			},
			"a=y", "a=y"},
		{"a removal can come undone",
			func(s story) { s.create("a"); s.fsync("a"); s.fsync(""); s.remove("a", false) },
			"a=|", "a=|"},
		{"overwriting is old or new, and an fsync of it takes nobody's name along",
			func(s story) {
				s.create("a")
				s.write("a", 0, "x")
				s.fsync("a")
				s.fsync("")
				s.create("b")
				s.write("a", 0, "y")
				s.fsync("a")
			},
			"a=y|a=y b=", "a=y|a=y b="},
		{"an fsync that had to make room takes along all that was made before it",
			func(s story) {
				s.create("a")
				s.fsync("a")
				s.fsync("")
				s.write("a", 0, "x")
				s.create("b")
				s.fsync("a")
			},
			"a=x b=", "a=x|a=x b="},
		{"an appended tail is there, not there, or zeroes",
			func(s story) { s.create("a"); s.write("a", 0, "x"); s.fsync("a"); s.fsync(""); s.write("a", 1, "yy") },
			"a=x|a=xy2|a=x02", "a=x|a=xy2|a=x02"},
		{"cutting off comes with its journal, what is written anew without",
			func(s story) {
				s.create("a")
				s.write("a", 0, "xx")
				s.fsync("a")
				s.fsync("")
				s.truncate("a", 0)
				s.write("a", 0, "y")
			},
			"a=x2|a=|a=0|a=y", "a=x2|a=|a=0|a=y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for sem, want := range map[Semantics]string{Journal: c.journal, Strict: c.strict} {
				s := newStory(t, nil)
				c.do(s)
				disks := strings.Split(want, "|")
				if got := show(Disk(s.Base(), s.Ops(), sem, Drop)); got != disks[0] {
					t.Errorf("%s: all lost that can be: %q, not %q", sem, got, disks[0])
				}
				wanted := map[string]bool{}
				for _, d := range disks {
					wanted[d] = true
				}
				got := map[string]bool{}
				for d := range possible(s, sem) {
					got[d] = true
				}
				if diff := cmp.Diff(wanted, got); diff != "" {
					t.Errorf("%s: %s", sem, diff)
				}
			}
		})
	}
}

// A write of several pages tears by the page and by the sector, and never within one.
func TestTearing(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.create("a")
	s.write("a", 0, strings.Repeat("o", 2*page))
	s.fsync("a")
	s.write("a", 0, strings.Repeat("n", 2*page))
	torn := map[bool]int{}
	for seed := range uint64(500) {
		data := Disk(s.Base(), s.Ops(), Journal, Random(seed)).Files()["a"]
		if len(data) != 2*page {
			t.Fatalf("%d bytes", len(data))
		}
		byPage := true
		for i := 0; i < len(data); i += sector {
			if strings.Trim(data[i:i+sector], data[i:i+1]) != "" {
				t.Fatalf("seed %d: torn within the sector at %d", seed, i)
			}
			byPage = byPage && data[i] == data[i/page*page]
		}
		if strings.Contains(data, "on") || strings.Contains(data, "no") {
			torn[byPage]++
		}
	}
	if torn[true] < 20 || torn[false] < 20 {
		t.Errorf("torn between pages %d times, between sectors %d times of 500", torn[true], torn[false])
	}
}

func TestSameSeedSameDisk(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	for i := range 50 {
		s.create(fmt.Sprint(i))
		s.write(fmt.Sprint(i), 0, strings.Repeat("x", 3000))
	}
	for _, sem := range []Semantics{Journal, Strict} {
		hashes := map[[32]byte]bool{}
		for seed := range uint64(20) {
			one, two := Disk(s.Base(), s.Ops(), sem, Random(seed)), Disk(s.Base(), s.Ops(), sem, Random(seed))
			if one.Hash() != two.Hash() {
				t.Errorf("%s: seed %d makes two disks", sem, seed)
			}
			hashes[one.Hash()] = true
		}
		if len(hashes) < 15 {
			t.Errorf("%s: 20 seeds make %d disks", sem, len(hashes))
		}
	}
}

// What a disk is made from stays as it is, and what is loaded from a folder is on the disk.
func TestDiskChangesNothing(t *testing.T) {
	t.Parallel()
	first := newStory(t, nil)
	first.create("a")
	first.write("a", 0, "before")
	base := Disk(first.Base(), first.Ops(), Journal, Keep)
	s := newStory(t, base)
	before := base.Hash()
	s.write("a", 0, "after, and longer")
	s.fsync("a")
	s.truncate("a", 2)
	s.write("a", 1, "!")
	for seed := range uint64(50) {
		Disk(s.Base(), s.Ops(), Journal, Random(seed)).nodes[2].data[0] = '?'
	}
	if base.Hash() != before {
		t.Errorf("the base became %s", show(base))
	}
	if got := show(Disk(s.Base(), s.Ops(), Journal, Keep)); got != "a=a!" {
		t.Errorf("kept: %s", got)
	}
	if got := show(Disk(s.Base(), s.Ops(), Journal, Drop)); got != "a=after, and longer" {
		t.Errorf("dropped: %s", got)
	}
	if got := show(Disk(s.Base(), nil, Strict, Drop)); got != "a=before" {
		t.Errorf("nothing done: %s", got)
	}
}

func TestUnkept(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.mkdir("d")
	s.fsync("")
	s.create("d/a")
	s.fsync("d")
	s.create("d/b")
	s.write("d/b", 0, "x")
	s.fsync("d/b")
	s.mkdir("e")
	s.create("e/t")
	s.fsync("e")
	s.rename("e/t", "e/a")
	if diff := cmp.Diff([]string{"d/b", "e", "e/a"}, Unkept(s.Base(), s.Ops())); diff != "" {
		t.Error(diff)
	}
}

// A folder that is written and loaded is the same, times included: programs look at those.
func TestTimesLast(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.mkdir("d")
	s.create("d/a")
	s.write("d/a", 0, "x")
	s.mkdir("d/e")
	dir := t.TempDir()
	s.must(Disk(s.Base(), s.Ops(), Journal, Keep).WriteTo(dir))
	loaded, err := Load(dir)
	s.must(err)
	for p, i := range map[string]int{"d": 3, "d/a": 2, "d/e": 3} {
		if got, want := reach(loaded, p).changed, s.Ops()[i].At; !got.Equal(want) {
			t.Errorf("%s was changed at %v, not at %v, by operation %d", p, got, want, i)
		}
	}
}
