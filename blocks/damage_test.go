package blocks_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

var update = flag.Bool("update", false, "rewrite golden files")

// manifest is what a ledger knows from outside. Of a store that was stopped, what is in small files and how long blocks
// are; of one that was killed the same of the small files but index.db, which changes all the time, and of the stream its
// last sequence and how many messages it has.
func manifest(t testing.TB, dir string, stopped bool, r *blocks.Report) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		switch all[name] = fmt.Sprintf("%x", sha256.Sum256(b)); {
		case filepath.Ext(name) == ".blk":
			all[name] = fmt.Sprint(len(b))
			fallthrough
		case filepath.Base(name) == "index.db":
			if !stopped {
				delete(all, name)
			}
		}
		return err
	})
	if !stopped {
		all["state"] = fmt.Sprint(r.Last, r.Messages)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// small is a store with every kind of file in it. Its index.db was written once, by a stop, before the last messages.
func small(t *testing.T) (stopped, killed string) {
	t.Helper()
	dir := t.TempDir()
	make_ := func(e *engine) {
		for i, c := range []jetstream.StreamConfig{
			{Name: "PLAIN"},
			{Name: "TIMED", AllowMsgTTL: true, AllowMsgSchedules: true},
			{Name: "PRESSED", Compression: jetstream.S2Compression, MaxBytes: 120_000},
			{Name: "DRAWN", Sources: []*jetstream.StreamSource{{Name: "PLAIN"}}},
		} {
			a := &actor{engine: e, config: c, rand: rand.New(rand.NewPCG(2, uint64(i)))}
			if len(c.Sources) == 0 {
				c.Subjects = []string{c.Name + ".>"}
			}
			var err error
			a.s, err = e.js.CreateOrUpdateStream(e.ctx(), c)
			a.must(err)
			switch c.Name {
			case "PLAIN":
				a.publish(20, 100)
				a.headers = true
				a.publish(20, 100)
				a.delete(5, false)
				batch, err := a.consumer().Fetch(12)
				a.must(err)
				n := 0
				for m := range batch.Messages() {
					if n++; n%3 != 0 {
						a.must(m.DoubleAck(a.ctx()))
					} else {
						a.must(m.Nak())
					}
				}
			case "TIMED":
				a.headers, a.ttl = true, "1h"
				a.publish(30, 100)
				a.schedule()
			case "PRESSED":
				a.publish(10, 9_000)
			}
		}
	}
	e := open(t, dir, always)
	make_(e)
	e.stop()
	e = open(t, dir, always)
	make_(e)
	a := &actor{engine: e}
	for _, name := range []string{"PLAIN", "DRAWN", "PRESSED"} {
		var err error
		a.s, err = e.js.Stream(e.ctx(), name)
		a.must(err)
		settle(t, func() bool { return name != "DRAWN" || a.info().State.Msgs == 79 })
	}
	killed = t.TempDir()
	settle(t, func() bool { // the consumer's state is written a moment later
		os.RemoveAll(killed)
		os.CopyFS(killed, os.DirFS(dir))
		if tmp, _ := filepath.Glob(filepath.Join(folder(killed, "PLAIN"), "obs", "C", "*.tmp")); len(tmp) > 0 {
			return false
		}
		b, _ := os.ReadFile(filepath.Join(folder(killed, "PLAIN"), "obs", "C", "o.dat"))
		s, err := blocks.DecodeConsumerState(b)
		return err == nil && s.Delivered.Consumer >= 24 && s.Pending > 0
	})
	e.stop()
	return dir, killed
}

// keep rewrites the files that the fuzzers begin with, when asked to: those of the small store.
func keep(t *testing.T, store string) {
	if !*update {
		return
	}
	for _, stream := range []string{"PLAIN", "TIMED", "PRESSED", "DRAWN"} {
		for _, name := range files(t, folder(store, stream)) {
			b, err := os.ReadFile(filepath.Join(folder(store, stream), name))
			if err == nil {
				err = os.MkdirAll("testdata/store", 0o755)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join("testdata/store", stream+"-"+filepath.Base(name)), b, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// damaged is one way to damage a file of this size.
type damaged struct {
	name string
	do   func(b []byte) []byte // nil: the file is deleted
}

func damages(size int, r *rand.Rand) (all []damaged) {
	flips := map[int]bool{}
	for i := range min(size, 48) {
		flips[i], flips[size-1-i] = true, true
	}
	for range 60 {
		if size > 0 {
			flips[r.IntN(size)] = true
		}
	}
	for _, at := range slices.Sorted(maps.Keys(flips)) {
		bit := byte(1) << (at % 8)
		all = append(all, damaged{"bit flipped", func(b []byte) []byte { b[at] ^= bit; return b }})
	}
	for i := range 8 {
		if n := size - 1 - i*size/8; n > 0 && n < size {
			all = append(all, damaged{"cut short", func(b []byte) []byte { return b[:n] }})
		}
	}
	if size > 0 {
		all = append(all, damaged{"cut to nothing", func(b []byte) []byte { return b[:0] }})
	}
	return append(all, damaged{"deleted", func([]byte) []byte { return nil }})
}

func files(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var digits = regexp.MustCompile(`[0-9]+`)

// Every file of a small store × every way to damage it × after a clean stop and after a kill: what this package reports,
// and what takes a ledger that knows what was there. After a clean stop nothing may escape the two.
func TestEveryDamageIsReported(t *testing.T) {
	t.Parallel()
	stopped, killed := small(t)
	keep(t, stopped)
	type row struct{ what, state, file, damage string }
	seen, ledger, neither := map[row]int{}, map[row]int{}, map[row]int{}
	found := map[row]map[string]bool{}
	for state, store := range map[string]string{"stopped": stopped, "killed": killed} {
		for _, stream := range []string{"PLAIN", "TIMED", "PRESSED", "DRAWN"} {
			dir := folder(store, stream)
			whole := scan(t, dir, blocks.Options{Clean: state == "stopped"})
			if len(whole.Damage)+len(whole.Unknown)+len(whole.Gaps) > 0 {
				t.Fatalf("%s %s, not damaged: %v %v %v", stream, state, whole.Damage, whole.Unknown, whole.Gaps)
			}
			before := manifest(t, dir, state == "stopped", whole)
			for _, name := range files(t, dir) {
				path := filepath.Join(dir, name)
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range damages(len(whole), rand.New(rand.NewPCG(3, uint64(len(whole))))) {
					write(t, path, d.do(slices.Clone(whole)))
					r := scan(t, dir, blocks.Options{Clean: state == "stopped"})
					k := row{stream, state, digits.ReplaceAllString(filepath.ToSlash(name), "N"), d.name}
					for _, x := range r.Damage {
						if found[k] == nil {
							found[k] = map[string]bool{}
						}
						found[k][string(x.What)] = true
					}
					switch {
					case len(r.Damage) > 0:
						seen[k]++
					case !maps.Equal(before, manifest(t, dir, state == "stopped", r)):
						ledger[k]++
					default:
						neither[k]++
					}
					write(t, path, whole)
				}
			}
		}
	}
	var b strings.Builder
	all := maps.Clone(seen)
	maps.Copy(all, ledger)
	maps.Copy(all, neither)
	total, got := 0, 0
	for _, k := range slices.SortedFunc(maps.Keys(all), func(a, b row) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		n := seen[k] + ledger[k] + neither[k]
		if k.state == "stopped" {
			total, got = total+n, got+seen[k]+ledger[k]
			if neither[k] > 0 {
				t.Errorf("%+v: %d of %d cases go unseen", k, neither[k], n)
			}
		}
		fmt.Fprintf(&b, "%-8s %-8s %-16s %-15s %s %s\n", k.what, k.state, k.file, k.damage, share(seen[k], ledger[k], neither[k]), strings.Join(slices.Sorted(maps.Keys(found[k])), " "))
	}
	t.Logf("after a clean stop %d of %d", got, total)
	golden(t, "testdata/damage.golden", b.String())
}

// share says who sees it, without numbers: those differ from run to run, with the lengths of times and names.
func share(seen, ledger, neither int) string {
	var s []string
	for _, x := range []struct {
		n    int
		what string
	}{{seen, "files"}, {ledger, "ledger"}, {neither, "neither"}} {
		if x.n > 0 {
			s = append(s, x.what)
		}
	}
	return fmt.Sprintf("%-22s", strings.Join(s, "+"))
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	var err error
	if b == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s; go test -update rewrites it:\n%s", file, d)
	}
}
