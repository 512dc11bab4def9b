package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

var background = context.Background()

// With publishers going on, an archive is a prefix of each stream as of its moment, and has everything that was acknowledged
// before it began.
func TestPrefix(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	names := []string{"A", "B", "C"}
	for _, s := range names {
		b.stream(jetstream.StreamConfig{Name: s, Subjects: []string{s + ".>"}})
	}
	var acked [3]atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	var publishers sync.WaitGroup
	for i, s := range names {
		publishers.Go(func() {
			for ctx.Err() == nil {
				ack, err := b.js.Publish(ctx, s+".x", bytes.Repeat([]byte("x"), 500))
				if err == nil {
					acked[i].Store(ack.Sequence)
				}
			}
		})
	}
	defer publishers.Wait()
	defer stop()
	for round := range 5 {
		until(t, "more messages", func() bool { return acked[2].Load() > uint64(200*round) })
		var before [3]uint64
		for i := range acked {
			before[i] = acked[i].Load()
		}
		file := b.archive()
		m, err := Verify(t.Context(), file, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range m.Streams {
			if s.LastSeq < before[i] || s.Messages != s.LastSeq || s.Gone > 0 || s.Damage != nil {
				t.Errorf("stream %s has %d of %d, and %d were acknowledged before: %+v", s.Name, s.Messages, s.LastSeq, before[i], s)
			}
		}
		to := newBus(t)
		to.restore(file, RestoreOptions{Streams: []string{"B"}})
		last := m.Stream("B").LastSeq
		src, err := b.js.Stream(t.Context(), "B")
		if err != nil {
			t.Fatal(err)
		}
		dst, err := to.js.Stream(t.Context(), "B")
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range []uint64{1, (last + 1) / 2, last} {
			want, err := src.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			got, err := dst.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			want.Header, got.Header = nil, nil
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
	}
}

// damage changes a byte of a message that a stopped bus has in its store.
func (b *bus) damage(stream, text string) {
	b.t.Helper()
	file := filepath.Join(b.opts.StoreDir, "jetstream/$G/streams", stream, "msgs/1.blk")
	content, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	i := bytes.Index(content, []byte(text))
	if i < 0 {
		b.t.Fatalf("there is no %q", text)
	}
	content[i] ^= 1
	if err := os.WriteFile(file, content, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// A message that is damaged in the store goes missing in nats-server's snapshot without a word. It is noticed, and which it
// is; what can be read can be backed up all the same, and says so for ever.
func TestDamaged(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for _, s := range []string{"FINE", "HURT"} {
		s := b.stream(jetstream.StreamConfig{Name: s, Subjects: []string{s + ".>"}})
		b.publish(s.CachedInfo().Config.Name+".x", 0, 100)
		for seq := uint64(10); seq < 40; seq += 3 {
			if err := s.DeleteMsg(t.Context(), seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.stop()
	b.damage("HURT", "HURT.x50\r\n") // its id; "message 50" could be message 5 and a checksum that begins with a 0
	b.damage("HURT", "HURT.x51\r\n")
	b.start()

	file := filepath.Join(t.TempDir(), "b.tar.gz")
	_, _, err := CreateFile(t.Context(), b.nc, file, CreateOptions{})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "stream HURT") || !strings.Contains(err.Error(), "2 messages cannot be read, such as 51, 52") {
		t.Fatalf("%v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	m, _, err := CreateFile(t.Context(), b.nc, file, CreateOptions{Damaged: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := m.Stream("HURT").Damage; d == nil || d.Messages != 2 || !slices.Equal(d.Sequences, []uint64{51, 52}) || m.Stream("FINE").Damage != nil {
		t.Errorf("%+v", m)
	}
	if m, err = VerifyDeep(t.Context(), file, VerifyOptions{Temp: t.TempDir()}); err != nil || !slices.Equal(m.Damaged(), []string{"HURT"}) {
		t.Errorf("%v, %v", m, err)
	}
	to := newBus(t)
	r := to.restore(file, RestoreOptions{})
	if s := r.Streams[1]; s.Name != "HURT" || s.Messages != 88 || len(s.Remarks) != 1 || !strings.Contains(s.Remarks[0], "damaged when it was backed up") {
		t.Errorf("%+v", s)
	}
}

// What is missing in a snapshot is damaged only if nobody has deleted it, and it has not expired.
func TestGaps(t *testing.T) {
	t.Parallel()
	then := state{FirstSeq: 10, LastSeq: 20}
	for _, c := range []struct {
		what string
		seen []uint64
		now  state
		want []uint64
	}{
		{"nothing missing", []uint64{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, state{FirstSeq: 10, LastSeq: 25}, nil},
		{"expired meanwhile", []uint64{15, 16, 17, 18, 19, 20}, state{FirstSeq: 15, LastSeq: 25}, nil},
		{"deleted before and meanwhile", []uint64{10, 12, 13, 14, 16, 17, 18, 19}, state{FirstSeq: 10, LastSeq: 25, Deleted: []uint64{20, 15, 11, 23}}, nil},
		{"one that nobody deleted", []uint64{10, 12, 13, 14, 16, 17, 18, 19}, state{FirstSeq: 10, LastSeq: 25, Deleted: []uint64{11, 20, 23}}, []uint64{15}},
		{"the first and the last", []uint64{11, 12, 13, 14, 15, 16, 17, 18, 19}, state{FirstSeq: 10, LastSeq: 25}, []uint64{10, 20}},
		{"all", nil, state{FirstSeq: 19, LastSeq: 25}, []uint64{19, 20}},
		{"purged", nil, state{FirstSeq: 26, LastSeq: 25}, nil},
	} {
		g := newGaps(then, c.now)
		for _, seq := range c.seen {
			g.seen(seq)
		}
		if n, some := g.end(); int(n) != len(c.want) || !slices.Equal(some, c.want) {
			t.Errorf("%s: %d %v, not %v", c.what, n, some, c.want)
		}
	}
}

// A file has its name only when it is whole; it never replaces another, and two do not write the same.
func TestCreateFile(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
	dir := t.TempDir()
	file := filepath.Join(dir, "b.tar.gz")
	create := func(streams ...string) error {
		_, _, err := CreateFile(t.Context(), b.nc, file, CreateOptions{Streams: streams})
		return err
	}
	if err := create("A", "NONE"); !errors.Is(err, ErrNoStream) || !strings.Contains(err.Error(), "NONE") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	other, err := lockedFile(file + partial)
	if err != nil {
		t.Fatal(err)
	}
	if err := create(); err == nil || !strings.Contains(err.Error(), "being written by another backup") {
		t.Errorf("%v", err)
	}
	if _, err := other.WriteString(strings.Repeat("left by a killed process", 100000)); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), file, VerifyOptions{}); err != nil {
		t.Error(err)
	}
	if err := create(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	left, _ := os.ReadDir(dir)
	if st, err := os.Stat(file); len(left) != 1 || err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, %v", left, st.Mode(), err)
	}
	if _, _, err := CreateFile(t.Context(), b.nc, filepath.Join(dir, "none", "b.tar.gz"), CreateOptions{}); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("%v", err)
	}

	empty := newBus(t)
	if _, _, err := CreateFile(t.Context(), empty.nc, filepath.Join(dir, "empty.tar.gz"), CreateOptions{}); !errors.Is(err, ErrNoStream) {
		t.Errorf("%v", err)
	}
	off := newBus(t, func(o *natsserver.Options) { o.JetStream = false })
	if _, _, err := CreateFile(t.Context(), off.nc, filepath.Join(dir, "off.tar.gz"), CreateOptions{}); err == nil || !strings.Contains(err.Error(), "there is no JetStream for this account") {
		t.Errorf("%v", err)
	}
}

// What cannot be written is an error of writing, and leaves nothing.
func TestFull(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
	b.publish("a.x", 0, 10)
	for size := 0; ; size += 97 {
		w := &full{room: size}
		_, err := Create(t.Context(), b.nc, w, CreateOptions{Temp: t.TempDir()})
		if err == nil {
			if w.room < 0 {
				t.Error("it wrote more than there is room for")
			}
			return
		}
		if !errors.Is(err, errFull) {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
}

// full takes so many bytes.
type full struct{ room int }

var errFull = fmt.Errorf("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.room {
		n := f.room
		f.room = 0
		return n, errFull
	}
	f.room -= len(p)
	return len(p), nil
}

// Many streams are taken several at a time, and stand in the order of their names.
func TestMany(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for i := range 3 * together {
		b.stream(jetstream.StreamConfig{Name: fmt.Sprintf("S%02d", i), Subjects: []string{fmt.Sprintf("s.%d", i)}})
		b.publish(fmt.Sprintf("s.%d", i), 0, i)
	}
	var last Progress
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	m, _, err := CreateFile(t.Context(), b.nc, file, CreateOptions{Progress: func(p Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.names(), b.names()) || last.Done != 3*together || last.Bytes == 0 {
		t.Errorf("%v, %+v", m.names(), last)
	}
	again, err := Verify(t.Context(), file, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m, again); d != "" {
		t.Error(d)
	}
}

// What is put together elsewhere never has a name there, so that a kill at any moment leaves nothing; and closing it takes
// nothing else away.
func TestTemporaryHasNoName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := newTemporary(dir)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
	}
	f.close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
