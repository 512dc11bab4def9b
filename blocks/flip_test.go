package blocks_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/nats-io/nats.go/jetstream"
)

// entry is where one record of a block stands.
type entry struct {
	seq      uint64
	from, to int64
	kind     blocks.Kind
}

func entries(t testing.TB, dir string) (all []entry) {
	t.Helper()
	b, damage, err := reader(t).ReadBlock(dir, 1, blocks.BlockOptions{Visit: func(r *blocks.Record) error {
		if n := len(all); n > 0 {
			all[n-1].to = r.Offset
		}
		all = append(all, entry{seq: r.Seq, from: r.Offset, kind: r.Kind})
		return nil
	}})
	if err != nil || len(damage) > 0 {
		t.Fatal(damage, err)
	}
	all[len(all)-1].to = b.Size
	return all
}

// One damaged place costs the reader that record and no other, and the report names it: file, place, sequence, and how
// many messages nats-server would cut off behind it.
func TestDamageIsNamedExactly(t *testing.T) {
	t.Parallel()
	e := open(t, t.TempDir())
	a := &actor{engine: e, config: jetstream.StreamConfig{Name: "S", Subjects: []string{"S.>"}}, rand: rand.New(rand.NewPCG(4, 4))}
	a.s = e.stream(a.config)
	a.publish(30, 500)
	a.remove(5, false)
	a.remove(3, true)
	a.headers = true
	a.publish(30, 500)
	e.stop()
	dir := folder(e.dir, "S")
	all := entries(t, dir)
	path := filepath.Join(dir, "msgs", "1.blk")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		at := a.rand.Int64N(int64(len(whole)))
		i := slices.IndexFunc(all, func(e entry) bool { return at < e.to })
		hit := all[i]
		if off := at - hit.from; off == 20 || off == 21 {
			continue // where the subject ends: see TestMovedBorder
		}
		bad := slices.Clone(whole)
		switch a.rand.IntN(3) {
		case 0:
			bad[at] ^= 1 << a.rand.IntN(8)
		case 1:
			bad[at] += byte(1 + a.rand.IntN(255))
		case 2: // a sector of zeros within the record
			clear(bad[at:min(at+64, hit.to)])
			if slices.Equal(bad, whole) {
				continue
			}
		}
		write(t, path, bad)
		var got []uint64
		behind := 0
		b, damage, err := reader(t).ReadBlock(dir, 1, blocks.BlockOptions{Visit: func(r *blocks.Record) error {
			got = append(got, r.Seq)
			if r.Kind == blocks.Message && r.Offset > hit.from {
				behind++
			}
			return nil
		}})
		if err != nil || len(damage) != 1 || b.Records != len(all)-1 {
			t.Fatalf("byte %d, in record %d of %d: %d read, %v %v", at, i, len(all), b.Records, damage, err)
		}
		d := damage[0]
		if d.Offset != hit.from || d.Size != hit.to-hit.from || d.Behind != behind {
			t.Errorf("%+v, want %+v and %d behind", d, hit, behind)
		}
		if hit.kind != blocks.Tombstone && (d.After >= hit.seq || d.Before != 0 && d.Before <= hit.seq) {
			t.Errorf("%+v, want %+v", d, hit)
		}
	}
}

// Where a subject ends is in no checksum. What can be seen of it in the record is, the rest by the index's count.
func TestMovedBorder(t *testing.T) {
	t.Parallel()
	e := open(t, t.TempDir())
	a := &actor{engine: e, config: jetstream.StreamConfig{Name: "S", Subjects: []string{"S.>"}}, rand: rand.New(rand.NewPCG(5, 5))}
	a.s = e.stream(a.config)
	for i := range 40 {
		_, err := e.js.Publish(e.ctx(), "S.payment.booked", fmt.Appendf(nil, `{"id":%d,"of":"somebody"}`, i))
		a.must(err)
	}
	e.stop()
	e = open(t, e.dir)
	_, err := e.js.Publish(e.ctx(), "S.later", []byte("index.db does not know this one"))
	a.must(err)
	killed := e.killed()
	e.stop()
	for _, store := range []string{e.dir, killed} {
		dir := folder(store, "S")
		path := filepath.Join(dir, "msgs", "1.blk")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for bit := range 16 {
			bad := slices.Clone(whole)
			bad[20+bit/8] ^= 1 << (bit % 8)
			write(t, path, bad)
			r := scan(t, dir, blocks.Options{Clean: store != killed})
			if len(r.Damage) != 1 {
				t.Errorf("bit %d: %v", bit, r.Damage)
			}
		}
		write(t, path, whole)
	}
}

// What a crash leaves at the end of the last block is no damage: it is Torn. With readable records behind it, or after a
// clean stop, it is.
func TestTornEnd(t *testing.T) {
	t.Parallel()
	e := open(t, t.TempDir())
	a := &actor{engine: e, config: jetstream.StreamConfig{Name: "S", Subjects: []string{"S.>"}}, rand: rand.New(rand.NewPCG(6, 6))}
	a.s = e.stream(a.config)
	a.publish(30, 500)
	killed := folder(e.killed(), "S")
	e.stop()
	all := entries(t, killed)
	last := all[len(all)-1]
	path := filepath.Join(killed, "msgs", "1.blk")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string][]byte{
		"short":   whole[last.from : last.from+11],
		"cut":     whole[last.from : last.to-3],
		"zeros":   make([]byte, 300),
		"page":    append(slices.Clone(whole[last.from:last.to-9]), make([]byte, 9)...),
		"garbage": []byte("\xff\xff\xff\xff and what was in the sector before, as some file systems leave it at the end"),
	} {
		write(t, path, slices.Concat(whole[:last.from], end))
		r := scan(t, killed, blocks.Options{})
		if len(r.Damage) != 1 || r.Damage[0].What != blocks.Torn || r.Damage[0].After != last.seq-1 || r.Last != last.seq-1 || r.Damage[0].Offset != last.from {
			t.Errorf("%s: %+v, last %d of %d", name, r.Damage, r.Last, last.seq)
		}
		if r := scan(t, killed, blocks.Options{Clean: true}); len(r.Damage) != 1 || r.Damage[0].What == blocks.Torn {
			t.Errorf("%s, after a clean stop: %+v", name, r.Damage)
		}
	}
	bad := slices.Clone(whole)
	bad[all[20].from+30] ^= 4
	write(t, path, bad)
	if r := scan(t, killed, blocks.Options{}); len(r.Damage) != 1 || r.Damage[0].What != blocks.Checksum || r.Damage[0].Behind != 9 {
		t.Errorf("%+v", r.Damage)
	}
}
