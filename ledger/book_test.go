package ledger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/ledger"
	"github.com/google/go-cmp/cmp"
)

func page(n int) ledger.Page {
	return ledger.Page{Written: now.Add(time.Duration(n) * time.Second), Server: "2.15.2", Durable: true,
		Streams: []ledger.Stream{plain(func(s *ledger.Stream) { s.Last = uint64(n) })}}
}

func open(t testing.TB, store string) (*ledger.Book, ledger.Page, bool) {
	t.Helper()
	b, p, ok, err := ledger.Open(store)
	if err != nil {
		t.Fatal(err)
	}
	return b, p, ok
}

func TestLastPageWins(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b, _, ok := open(t, store)
	if ok {
		t.Fatal("there is none yet")
	}
	if entries, _ := os.ReadDir(store); len(entries) != 0 {
		t.Fatal("looking wrote something")
	}
	for i := 1; i < 5; i++ {
		if err := b.Write(page(i)); err != nil {
			t.Fatal(err)
		}
		if _, got, ok := open(t, store); !ok || !cmp.Equal(got, page(i)) || got.ID() != page(i).ID() {
			t.Fatalf("page %d: %+v", i, got)
		}
		if i == 2 { // another process goes on with it
			b, _, _ = open(t, store)
		}
	}
}

// The first page of all has no other that is whole: a process killed while it wrote it left an empty file, and nobody knew what
// the store had to hold. So it has its name only when it is whole.
func TestFirstPageComesWhole(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b, _, _ := open(t, store)
	dir := filepath.Join(store, "deltran-bus.ledger")
	left := filepath.Join(dir, "page.b.new")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(left, []byte("what a killed process left, longer than the page that comes"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if b, _, ok := open(t, store); ok || len(b.Damaged) > 0 {
		t.Errorf("a page that was being written is taken for one: %v, %v", ok, b.Damaged)
	}
	if err := b.Write(page(1)); err != nil {
		t.Fatal(err)
	}
	if b, got, ok := open(t, store); !ok || !cmp.Equal(got, page(1)) || len(b.Damaged) > 0 {
		t.Errorf("%+v, %v", got, b.Damaged)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("the new page did not take its name")
	}
}

// Whatever happens to one of the two files, the other one's page is read and the damage told; never a mixture, and never
// silence.
func TestOneDamagedFile(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b, _, _ := open(t, store)
	for i := range 2 {
		if err := b.Write(page(100 + i)); err != nil {
			t.Fatal(err)
		}
	}
	newer, older := filepath.Join(store, ledger.Dir, "page.a"), filepath.Join(store, ledger.Dir, "page.b")
	whole, err := os.ReadFile(newer)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, body []byte) {
		t.Helper()
		if err := os.WriteFile(newer, body, 0o600); err != nil {
			t.Fatal(err)
		}
		b, got, ok := open(t, store)
		if !ok || !cmp.Equal(got, page(100)) || !cmp.Equal(b.Damaged, []string{newer}) {
			t.Errorf("%s: read %+v, damaged %v", what, got.Streams, b.Damaged)
		}
	}
	for i := range whole {
		if i > 160 && i%7 > 0 { // behind the head one byte is like another
			continue
		}
		flipped := append([]byte{}, whole...)
		flipped[i] ^= 1 << (i % 8)
		try(fmt.Sprintf("a bit of byte %d", i), flipped)
		try(fmt.Sprintf("cut to %d", i), whole[:i])
	}
	if err := os.WriteFile(older, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := ledger.Open(store); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("both damaged: %v", err)
	}
}

// A shorter page over a longer one, torn at any place, leaves the one before.
func TestTornWrite(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b, _, _ := open(t, store)
	long := page(1)
	for range 50 {
		long.Streams = append(long.Streams, plain())
	}
	for _, p := range []ledger.Page{long, page(2), page(3)} {
		if err := b.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, got, _ := open(t, store); !cmp.Equal(got, page(3)) {
		t.Fatalf("what stood there before shows through: %+v", got)
	}
	path := filepath.Join(store, ledger.Dir, "page.b")
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before := make([]byte, len(after))
	for i := range before {
		before[i] = byte(rand.Int())
	}
	for cut := range after {
		if err := os.WriteFile(path, append(append([]byte{}, after[:cut]...), before[cut:]...), 0o600); err != nil {
			t.Fatal(err)
		}
		_, got, ok := open(t, store)
		if !ok || !cmp.Equal(got, page(2)) && !cmp.Equal(got, page(3)) {
			t.Fatalf("torn at %d: %+v", cut, got)
		}
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b, _, _ := open(t, store)
	p := page(7)
	if err := b.Write(p); err != nil {
		t.Fatal(err)
	}
	lost := func(stream string) ledger.Finding { return ledger.Finding{Kind: ledger.Tail, Stream: stream} }
	for _, a := range []ledger.Accepted{{Page: p.ID(), Streams: []string{"B", "A"}}, {Page: p.ID(), Streams: []string{"A"}, Clock: true}} {
		if err := b.Accept(a); err != nil {
			t.Fatal(err)
		}
	}
	a, err := b.Accepted()
	if err != nil || !a.Covers(p.ID(), lost("A")) || !a.Covers(p.ID(), lost("B")) || a.Covers(p.ID(), lost("C")) ||
		!a.Covers(p.ID(), ledger.Finding{Kind: ledger.Clock}) || a.Covers(page(8).ID(), lost("A")) {
		t.Errorf("%+v, %v", a, err)
	}
	stopped := p
	stopped.Clean = true
	if stopped.ID() != p.ID() {
		t.Error("opening the store makes it another page")
	}
	for range 2 {
		if err := b.UseUp(); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := b.Accepted(); err != nil || a.Page != "" {
		t.Errorf("used up, and still there: %+v, %v", a, err)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	put := func(name, body string) {
		t.Helper()
		path := filepath.Join(store, "jetstream", "$G", "streams", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(body), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"S/meta.inf", "S/meta.sum", "S/msgs/1.blk", "S/msgs/index.db", "S/obs/C/o.dat", "S/obs/C/o.dat.tmp", ".T/msgs/1.blk"} {
		put(n, "1 "+n)
	}
	m, err := ledger.Survey(store)
	if err != nil {
		t.Fatal(err)
	}
	if len(m) != 5 || m["jetstream/$G/streams/S/msgs/1.blk"] != (ledger.File{Size: 14}) || m["jetstream/$G/streams/S/obs/C/o.dat"].Sum == "" {
		t.Errorf("%v", m)
	}
	k := ledger.Keep{}
	sound := func(_ string, data []byte) bool { return string(data) != "damaged" }
	refresh := func(want bool) {
		t.Helper()
		if changed, err := k.Refresh(store, sound); err != nil || changed != want {
			t.Errorf("changed %v, %v", changed, err)
		}
	}
	refresh(true)
	refresh(false)
	put("S/obs/C/o.dat", "2 another")
	refresh(true)
	put("S/obs/C/o.dat", "damaged")
	refresh(false)
	if c := k["jetstream/$G/streams/S/obs/C/o.dat"]; string(c.Data) != "2 another" {
		t.Errorf("%q", c.Data)
	}
	if err := os.RemoveAll(filepath.Join(store, "jetstream", "$G", "streams", "S", "obs")); err != nil {
		t.Fatal(err)
	}
	refresh(true)
	if len(k) != 2 {
		t.Errorf("%v", k)
	}
	b, _, _ := open(t, store)
	if err := errors.Join(b.Stop(m), b.Keep(k)); err != nil {
		t.Fatal(err)
	}
	b, _, _ = open(t, store)
	gotM, err1 := b.Manifest()
	gotK, err2 := b.Keepsakes()
	if err := errors.Join(err1, err2); err != nil || !cmp.Equal(gotM, m) || !cmp.Equal(gotK, k) {
		t.Errorf("%v\n%v\n%v", err, gotM, gotK)
	}
}

// A process that had not read the manifest before it wrote one gave it the number of an older one, which was then read in its
// place: everything that had changed since looked damaged.
func TestManifestOfTheLastStop(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	for i := range 5 {
		b, _, _ := open(t, store)
		if i%2 == 0 {
			if _, err := b.Manifest(); err != nil {
				t.Fatal(err)
			}
		}
		want := ledger.Manifest{"f": {Size: int64(i)}}
		if err := b.Stop(want); err != nil {
			t.Fatal(err)
		}
		b, _, _ = open(t, store)
		if got, err := b.Manifest(); err != nil || !cmp.Equal(got, want) {
			t.Fatalf("stop %d: %v, %v", i, got, err)
		}
	}
}

// FuzzOpen reads whatever stands in the folder: it may refuse, and says of what it takes that it is whole.
func FuzzOpen(f *testing.F) {
	store := f.TempDir()
	b, _, _ := open(f, store)
	for i := range 2 {
		if err := b.Write(page(i)); err != nil {
			f.Fatal(err)
		}
	}
	body, err := os.ReadFile(filepath.Join(store, ledger.Dir, "page.a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte("deltran-bus page 1 00000000000000000002 999999999999 00\n{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		store := t.TempDir()
		dir := filepath.Join(store, ledger.Dir)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "page.a"), body, 0o600)); err != nil {
			t.Fatal(err)
		}
		b, p, ok, err := ledger.Open(store)
		if err != nil || !ok {
			return
		}
		if err := b.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, again, _ := open(t, store); again.ID() != p.ID() {
			t.Fatalf("%+v, written and read again %+v", p, again)
		}
	})
}

func BenchmarkCompare(b *testing.B) {
	p := ledger.Page{}
	for i := range 100 {
		p.Streams = append(p.Streams, plain(func(s *ledger.Stream) { s.Name = fmt.Sprint(i) }))
	}
	for b.Loop() {
		ledger.Compare(p, p.Streams, now)
	}
}

func BenchmarkWrite(b *testing.B) {
	book, _, _ := open(b, b.TempDir())
	for b.Loop() {
		if err := book.Write(page(3)); err != nil {
			b.Fatal(err)
		}
	}
}
