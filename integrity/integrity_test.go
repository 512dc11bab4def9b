package integrity_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/ledger"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func reader(t *testing.T) blocks.Reader {
	t.Helper()
	r, err := blocks.For(blocks.Engine)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Copies are kept once, none takes the place of another, and together they are not larger than they may be.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	dir := filepath.Join(store, "jetstream", "$G", "streams", "S")
	q := integrity.Quarantine{Store: store, Most: 1000}
	var names []string
	for _, text := range []string{"one", "two", "one"} {
		put(t, filepath.Join(dir, "msgs", "1.blk"), text)
		name, err := q.Keep("S", dir, "msgs/1.blk")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(store, name)); err != nil || string(b) != text {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		names = append(names, name)
	}
	if names[0] == names[1] || names[0] != names[2] || !strings.HasPrefix(names[0], integrity.Folder+"/S/msgs/1.blk-") {
		t.Error(names)
	}
	put(t, filepath.Join(dir, "msgs", "2.blk"), strings.Repeat("x", 995))
	if _, err := q.Keep("S", dir, "msgs/2.blk"); !errors.Is(err, integrity.ErrFull) {
		t.Error(err)
	}
	q.Most, q.Free = 1<<20, func() (uint64, error) { return 100, nil }
	if _, err := q.Keep("S", dir, "msgs/2.blk"); !errors.Is(err, integrity.ErrFull) {
		t.Error(err)
	}
	if _, err := q.Keep("S", dir, "msgs/3.blk"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	left := 0
	err := filepath.WalkDir(filepath.Join(store, integrity.Folder), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left++
		}
		return err
	})
	if err != nil || left != 2 {
		t.Errorf("%d files, %v", left, err)
	}
}

// A full quarantine keeps nobody from being told, and says that there is no copy.
func TestFullQuarantine(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	dir := filepath.Join(store, "jetstream", "$G", "streams", "S")
	put(t, filepath.Join(dir, "meta.inf"), "{}")
	put(t, filepath.Join(dir, "meta.sum"), "0123456789abcdef")
	put(t, filepath.Join(dir, "msgs", "1.blk"), "damaged")
	res, err := integrity.Look(context.Background(), reader(t), integrity.Store{Dir: store, Quarantine: integrity.Quarantine{Store: store}})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, f := range res.Findings {
		said = append(said, f.String())
	}
	want := "S: meta.inf is damaged (it does not match meta.sum); nats-server will not open the stream; it could not be copied to deltran-bus.quarantine: the quarantine is full"
	if len(said) != 1 || !strings.HasPrefix(said[0], want) {
		t.Errorf("%q", said)
	}
}

// A look that finds damage changes nothing but the quarantine.
func TestLookChangesNothing(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	for i, name := range []string{"$G/streams/S/meta.inf", "$G/streams/S/obs/C/o.dat", "$G/streams/S/msgs/1.blk", "A/streams/T/msgs/7.blk", "A/streams/T/msgs/index.db", "A/streams/.gone/meta.inf", "A/note"} {
		put(t, filepath.Join(store, "jetstream", name), strings.Repeat(fmt.Sprint(i), 100))
	}
	files := func() string {
		m, err := ledger.Survey(store)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(m)
	}
	before := files()
	res, err := integrity.Look(context.Background(), reader(t), integrity.Store{Dir: store, Quarantine: integrity.Quarantine{Store: store, Most: 1 << 20}})
	if err != nil || len(res.Findings) == 0 {
		t.Fatal(res, err)
	}
	for _, f := range res.Findings {
		if f.Holds {
			t.Errorf("holds, although no ledger knows the stream: %s", f)
		}
	}
	if after := files(); after != before {
		t.Errorf("%s\n%s", before, after)
	}
}

// The ledger copies what can be right, and nothing else.
func TestSound(t *testing.T) {
	t.Parallel()
	r := reader(t)
	const dir = "jetstream/$G/streams/S/"
	inf, con := `{"name":"S"}`, `{"name":"C"}`
	files := map[string]string{
		dir + "meta.inf": inf, dir + "meta.sum": r.MetaSum("S", "", []byte(inf)),
		dir + "obs/C/meta.inf": con, dir + "obs/C/meta.sum": r.MetaSum("S", "C", []byte(con)),
		dir + "obs/C/o.dat": "\x16\x02\x01\x01\x02\x02\x00\x00",
		dir + "obs/D/o.dat": "anything", dir + "obs/D/meta.key": "it is encrypted",
	}
	read := func(rel string) ([]byte, error) {
		if s, ok := files[rel]; ok {
			return []byte(s), nil
		}
		return nil, fs.ErrNotExist
	}
	for rel, data := range files {
		if !integrity.Sound(r, rel, []byte(data), read) {
			t.Errorf("%s is not sound", rel)
		}
	}
	for rel, data := range map[string]string{dir + "meta.inf": `{"name":"T"}`, dir + "meta.sum": "0", dir + "obs/C/meta.inf": inf, dir + "obs/C/o.dat": "\x16\x02\x03\x03\x02\x02\x00\x00"} {
		if integrity.Sound(r, rel, []byte(data), read) {
			t.Errorf("%s is sound", rel)
		}
	}
}
