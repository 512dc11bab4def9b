package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// three is a bus with three streams, one of which has a consumer on its way.
func three(t *testing.T) *bus {
	t.Helper()
	b := newBus(t)
	for i, s := range []string{"A", "B", "C"} {
		b.stream(jetstream.StreamConfig{Name: s, Subjects: []string{s + ".>"}, MaxBytes: 1 << 20})
		b.publish(s+".x", 0, 10*(i+1))
	}
	c, err := b.js.CreateConsumer(t.Context(), "B", jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	b.consume(seeded(1), c)
	return b
}

func (b *bus) dumps() map[string]string {
	b.t.Helper()
	out := map[string]string{}
	for _, name := range b.names() {
		out[name] = b.dump(name)
	}
	return out
}

// A stream that is there is not touched, unless it never held a message: a new bus makes those that are declared.
func TestExists(t *testing.T) {
	t.Parallel()
	from := three(t)
	file := from.archive()
	b := newBus(t)
	for _, s := range []string{"A", "B", "C"} {
		b.stream(jetstream.StreamConfig{Name: s, Subjects: []string{s + ".>"}})
	}
	b.publish("B.x", 0, 1)
	b.publish("C.x", 0, 1)
	before := b.dumps()
	_, err := Restore(t.Context(), b.nc, file, RestoreOptions{Temp: t.TempDir()})
	if !errors.Is(err, ErrExists) || strings.Contains(err.Error(), "stream A") || !strings.Contains(err.Error(), "stream B is there already, and holds 1 message; --replace") || !strings.Contains(err.Error(), "stream C") {
		t.Errorf("%v", err)
	}
	if d := cmp.Diff(before, b.dumps()); d != "" {
		t.Error(d)
	}
	if r := b.restore(file, RestoreOptions{Streams: []string{"A"}}); r.Kept != "" {
		t.Errorf("%+v", r)
	}
	if d := cmp.Diff(from.dump("A"), b.dump("A")); d != "" {
		t.Error(d)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("it left %v", left)
	}
	for _, wrong := range []RestoreOptions{{Streams: []string{"NONE"}}, {As: "X"}, {Streams: []string{"A"}, As: "a.b"}} {
		if _, err := Restore(t.Context(), b.nc, file, wrong); err == nil {
			t.Errorf("%+v was taken", wrong)
		}
	}
}

// What is replaced is kept, with what came in at the last moment: nothing that was acknowledged is in neither.
func TestReplace(t *testing.T) {
	t.Parallel()
	from := three(t)
	file := from.archive()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}, Description: "old"})
	b.stream(jetstream.StreamConfig{Name: "B", Subjects: []string{"B.>"}})
	b.publish("A.old", 0, 500)

	ctx, stop := context.WithCancel(t.Context())
	var acked sync.Map
	var n atomic.Int64
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprint("id", i)
			if ack, err := b.js.Publish(ctx, "A.old", []byte(id), jetstream.WithRetryAttempts(0)); err == nil {
				acked.Store(id, ack.Sequence)
				n.Add(1)
			}
		}
	})
	until(t, "messages", func() bool { return n.Load() > 100 })
	r := b.restore(file, RestoreOptions{Replace: true})
	at := n.Load()
	until(t, "more messages", func() bool { return n.Load() > at })
	stop()
	publisher.Wait()

	if r.Kept == "" || filepath.Dir(r.Kept) != filepath.Dir(file) || !strings.HasPrefix(filepath.Base(r.Kept), "archive.replaced-") {
		t.Fatalf("%+v", r)
	}
	old := newBus(t)
	old.restore(r.Kept, RestoreOptions{})
	if got := old.names(); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("kept: %v", got)
	}
	was, is := old.dump("A"), b.dump("A")
	acked.Range(func(id, seq any) bool {
		m := fmt.Sprintf("%q", id)
		if !strings.Contains(was, m) && !strings.Contains(is, m) {
			t.Errorf("%s was acknowledged as message %d and is nowhere", id, seq)
		}
		return true
	})
	for _, s := range []string{"B", "C"} {
		if d := cmp.Diff(from.dump(s), b.dump(s)); d != "" {
			t.Errorf("%s: %s", s, d)
		}
	}
	from.sameConfig(b, "A")
	for _, x := range []*bus{old, b} { // nothing of the way there is left in it
		s, err := x.js.Stream(t.Context(), "A")
		if err != nil {
			t.Fatal(err)
		}
		if cfg := s.CachedInfo().Config; !slices.Equal(cfg.Subjects, []string{"A.>"}) || cfg.Metadata[notedParked] != "" {
			t.Errorf("%+v", cfg)
		}
	}
}

// Wherever a restore fails, whether because of NATS, of somebody else, or because it is interrupted: everything is as it was.
func TestFails(t *testing.T) {
	t.Parallel()
	file := three(t).archive()
	for name, c := range map[string]struct {
		store int64 // of the bus; 0: large
		spoil func(b *bus, cancel func())
	}{
		"a quota that does not fit":        {store: 3 << 20},
		"interrupted while it is sent":     {spoil: func(_ *bus, cancel func()) { cancel() }},
		"a stream that takes its subjects": {spoil: func(b *bus, _ func()) { b.stream(jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"C.>"}}) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t, func(o *natsserver.Options) {
				if c.store > 0 {
					o.JetStreamMaxStore = c.store
				}
			})
			b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}, Description: "old", MaxBytes: 100000})
			b.stream(jetstream.StreamConfig{Name: "B", Subjects: []string{"B.>"}, Metadata: map[string]string{"owner": "risk"}})
			b.publish("A.old", 0, 50)
			if _, err := b.js.CreateConsumer(t.Context(), "A", jetstream.ConsumerConfig{Durable: "old", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
				t.Fatal(err)
			}
			if c.store > 0 {
				b.stream(jetstream.StreamConfig{Name: "BIG", Subjects: []string{"BIG.>"}, MaxBytes: c.store / 2})
			}
			before, configs := b.dumps(), b.configs()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			spoiled := false
			_, err := Restore(ctx, b.nc, file, RestoreOptions{Replace: true, Temp: t.TempDir(), Progress: func(p Progress) {
				if c.spoil != nil && p.Doing == "handing over" && p.Stream == "C" && !spoiled {
					spoiled = true
					c.spoil(b, cancel)
				}
			}})
			if err == nil {
				t.Fatal("it was restored")
			}
			t.Log(err)
			_ = b.js.DeleteStream(t.Context(), "OTHER")
			if d := cmp.Diff(before, b.dumps()); d != "" {
				t.Errorf("(-before +after)\n%s", d)
			}
			if d := cmp.Diff(configs, b.configs()); d != "" {
				t.Errorf("(-before +after)\n%s", d)
			}
			b.publish("A.x", 1000, 1)
			if left, _ := filepath.Glob(filepath.Join(b.opts.StoreDir, "jetstream/$G/__snapshots__/*")); len(left) > 0 {
				until(t, "nats-server throws away what it got", func() bool {
					left, _ = filepath.Glob(filepath.Join(b.opts.StoreDir, "jetstream/$G/__snapshots__/*"))
					return len(left) == 0
				})
			}
		})
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("beside the archive is left: %v", left)
	}
}

func (b *bus) configs() map[string]jetstream.StreamConfig {
	b.t.Helper()
	out := map[string]jetstream.StreamConfig{}
	for _, name := range b.names() {
		s, err := b.js.Stream(b.t.Context(), name)
		if err != nil {
			b.t.Fatal(err)
		}
		out[name] = s.CachedInfo().Config
	}
	return out
}

// Streams that have arrived wait for those that are still on their way: longer than nats-server would wait by itself.
func TestHeld(t *testing.T) {
	t.Parallel()
	from := three(t)
	file := from.archive()
	b := newBus(t)
	waited := false
	b.restore(file, RestoreOptions{Progress: func(p Progress) {
		if p.Doing == "handing over" && p.Done == 2 && !waited {
			waited = true
			if got := b.names(); len(got) > 0 {
				t.Errorf("%v stands before all have arrived", got)
			}
			<-time.After(6 * time.Second) // nats-server gives up after 5
		}
	}})
	if d := cmp.Diff(from.dumps(), b.dumps()); d != "" {
		t.Error(d)
	}
}

// A stream comes back under another name; beside the one that captures its subjects it goes without.
func TestAs(t *testing.T) {
	t.Parallel()
	b := three(t)
	file := b.archive("B")
	r := b.restore(file, RestoreOptions{As: "COPY"})
	if d := cmp.Diff(b.dump("B"), b.dump("COPY")); d != "" {
		t.Error(d)
	}
	if s := r.Streams[0]; s.Name != "COPY" || s.From != "B" || !strings.Contains(fmt.Sprint(s.Remarks), "without its subjects, which stream B captures") {
		t.Errorf("%+v", s)
	}
	other := newBus(t)
	r = other.restore(file, RestoreOptions{As: "COPY"})
	other.publish("B.x", 1000, 1)
	if s := r.Streams[0]; len(s.Remarks) > 0 {
		t.Errorf("%+v", s)
	}
	_, err := Restore(t.Context(), other.nc, file, RestoreOptions{Temp: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "stream B: its subject B.> overlaps B.> of stream COPY") {
		t.Errorf("%v", err)
	}
	if got := other.names(); !slices.Equal(got, []string{"COPY"}) {
		t.Error(got)
	}
}

// The time between a backup and now does not count where it would take messages on arrival, unless that is wanted.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}, MaxAge: time.Second, Duplicates: time.Second})
	b.publish("A.x", 0, 20)
	file := b.archive()
	until(t, "they expire", func() bool { return strings.HasPrefix(b.dump("A"), "0 messages") })

	to := newBus(t)
	r := to.restore(file, RestoreOptions{})
	if s := r.Streams[0]; s.Messages != 20 || len(s.Remarks) != 1 || !strings.HasPrefix(s.Remarks[0], "max_age 1s → ") {
		t.Errorf("%+v", s)
	}
	to = newBus(t)
	r = to.restore(file, RestoreOptions{Expire: true})
	s, err := to.js.Stream(t.Context(), "A")
	if err != nil {
		t.Fatal(err)
	}
	if cfg := s.CachedInfo().Config; cfg.MaxAge != time.Second || len(r.Streams[0].Remarks) > 1 {
		t.Errorf("%+v %+v", r, cfg)
	}
	until(t, "they expire", func() bool { return strings.HasPrefix(to.dump("A"), "0 messages, 21 to 20") })
}

// Aged adds the age of the archive, and enough for the oldest message.
func TestAged(t *testing.T) {
	t.Parallel()
	now := time.Now()
	day := 24 * time.Hour
	cfg := func(d time.Duration) config {
		c, err := parseConfig(fmt.Appendf(nil, `{"max_age": %d}`, d))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct{ limit, taken, oldest, want time.Duration }{
		{7 * day, 3 * day, 9 * day, 10*day + time.Minute},
		{7 * day, 3 * day, 5 * day, 0},
		{7 * day, 0, 8 * day, 8*day + 2*time.Minute}, // expired, and not removed yet when it was taken
		{0, 3 * day, 9 * day, 0},
	} {
		_, from, to := cfg(c.limit).aged(now, now.Add(-c.taken), now.Add(-c.oldest))
		if to != c.want || c.want > 0 && from != c.limit {
			t.Errorf("%+v: %s → %s", c, from, to)
		}
	}
	if _, _, to := cfg(day).aged(now, now, time.Time{}); to != 0 {
		t.Error("an empty stream was given longer")
	}
}

// Messages that have outlived their own TTL do not come back: that is the publisher's word. Everything else does.
func TestTTL(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}, AllowMsgTTL: true})
	for i, ttl := range []string{"1s", "", "1h", "never", "1s", "7200"} {
		m := nats.NewMsg(fmt.Sprintf("A.%d", i))
		if ttl != "" {
			m.Header.Set("Nats-TTL", ttl)
		}
		if _, err := b.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	file := b.archive()
	m, err := Verify(t.Context(), file, VerifyOptions{})
	if err != nil || m.Streams[0].Messages != 6 {
		t.Fatalf("%+v %v", m, err)
	}
	until(t, "two expire", func() bool { return strings.HasPrefix(b.dump("A"), "4 messages") })
	if _, err := VerifyDeep(t.Context(), file, VerifyOptions{Temp: t.TempDir()}); err != nil {
		t.Error(err)
	}
	to := newBus(t)
	to.restore(file, RestoreOptions{})
	for seq, there := range map[uint64]bool{1: false, 2: true, 3: true, 4: true, 5: false, 6: true} {
		s, err := to.js.Stream(t.Context(), "A")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.GetMsg(t.Context(), seq); (err == nil) != there {
			t.Errorf("message %d: %v", seq, err)
		}
	}
}

// Streams of every kind come back as what they were, and go on.
func TestKinds(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	ctx := t.Context()
	b.stream(jetstream.StreamConfig{Name: "ORIGIN", Subjects: []string{"o.>"}})
	b.stream(jetstream.StreamConfig{Name: "MIRROR", Mirror: &jetstream.StreamSource{Name: "ORIGIN"}})
	b.stream(jetstream.StreamConfig{Name: "SOURCED", Subjects: []string{"s.>"}, Sources: []*jetstream.StreamSource{{Name: "ORIGIN", FilterSubject: "o.1"}}})
	b.stream(jetstream.StreamConfig{Name: "COUNTER", Subjects: []string{"c.>"}, AllowMsgCounter: true, AllowDirect: true})
	b.stream(jetstream.StreamConfig{Name: "SCHEDULED", Subjects: []string{"at.>", "now.>"}, AllowMsgSchedules: true, AllowMsgTTL: true})
	b.stream(jetstream.StreamConfig{Name: "RENAMED", Subjects: []string{"r.>"}, SubjectTransform: &jetstream.SubjectTransformConfig{Source: "r.>", Destination: "renamed.>"}, RePublish: &jetstream.RePublish{Source: "renamed.>", Destination: "again.>"}})
	kv, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "kv", History: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		b.publish(fmt.Sprintf("o.%d", i%3), i, 1)
		b.publish("r.x", i, 1)
		if _, err := kv.Put(ctx, fmt.Sprint("key", i%4), []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		count := nats.NewMsg("c.x")
		count.Header.Set("Nats-Incr", "2")
		if _, err := b.js.PublishMsg(ctx, count); err != nil {
			t.Fatal(err)
		}
	}
	at := nats.NewMsg("at.x")
	at.Header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	at.Header.Set("Nats-Schedule-Target", "now.x")
	if _, err := b.js.PublishMsg(ctx, at); err != nil {
		t.Fatal(err)
	}
	messages := func(b *bus, stream string) uint64 {
		s, err := b.js.Stream(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.Msgs
	}
	until(t, "copies", func() bool { return messages(b, "MIRROR") == 30 && messages(b, "SOURCED") == 10 })

	file := b.archive()
	if _, err := VerifyDeep(ctx, file, VerifyOptions{Temp: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	to := newBus(t)
	to.restore(file, RestoreOptions{})
	if d := cmp.Diff(b.dumps(), to.dumps()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(b.configs(), to.configs()); d != "" {
		t.Error(d)
	}
	to.publish("o.1", 100, 1)
	until(t, "copies go on", func() bool { return messages(to, "MIRROR") == 31 && messages(to, "SOURCED") == 11 })
	more := nats.NewMsg("c.x")
	more.Header.Set("Nats-Incr", "1")
	if ack, err := to.js.PublishMsg(ctx, more); err != nil || ack.Value != "61" {
		t.Errorf("%+v, %v", ack, err)
	}
	back, err := to.js.KeyValue(ctx, "kv")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := back.Get(ctx, "key1"); err != nil || string(e.Value()) != "29" {
		t.Errorf("%v, %v", e, err)
	}
	to.stop()
	to.start()
	if messages(to, "MIRROR") != 31 || messages(to, "KV_kv") != 12 {
		t.Error("it is not the same after a restart")
	}
}

// A restore that was killed while it had a stream parked, or one in memory half done, is cleaned up by the next.
func TestAfterKill(t *testing.T) {
	t.Parallel()
	from := newBus(t)
	from.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}})
	from.stream(jetstream.StreamConfig{Name: "M", Subjects: []string{"M.>"}, Storage: jetstream.MemoryStorage})
	from.publish("A.x", 0, 5)
	from.publish("M.x", 0, 5)
	file := from.archive()

	b := newBus(t)
	c := newClient(b.nc, 0)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}})
	b.publish("A.x", 0, 3)
	info, err := c.info(t.Context(), "A", false)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := parseConfig(info.Config)
	if err != nil {
		t.Fatal(err)
	}
	parked, ok := cfg.parked()
	if !ok {
		t.Fatal("it cannot be parked")
	}
	if err := c.ask(t.Context(), "STREAM.UPDATE.A", parked, nil); err != nil {
		t.Fatal(err)
	}
	b.stream(jetstream.StreamConfig{Name: "M", Subjects: []string{"deltran-bus.restoring.M"}, Storage: jetstream.MemoryStorage, Metadata: map[string]string{notedRestoring: "then"}})
	b.publish("deltran-bus.restoring.M", 0, 1)

	if _, err := Restore(t.Context(), b.nc, file, RestoreOptions{Temp: t.TempDir()}); !errors.Is(err, ErrExists) || strings.Contains(err.Error(), "stream M") {
		t.Errorf("%v", err)
	}
	r := b.restore(file, RestoreOptions{Replace: true})
	if d := cmp.Diff(from.dumps(), b.dumps()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(from.configs(), b.configs()); d != "" {
		t.Error(d)
	}
	old := newBus(t)
	old.restore(r.Kept, RestoreOptions{Streams: []string{"A"}})
	old.publish("A.x", 100, 1) // its subjects are its own again
}

// What a nats-server before 2.15 sent, and natscli kept as stream.tar.s2, is restored as well, also under another name.
func TestLegacy(t *testing.T) {
	t.Parallel()
	from := three(t)
	w, err := newWorkshop(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer w.remove()
	dir := t.TempDir()
	_, err = readArchive(bytes.NewReader(must(os.ReadFile(from.archive("B")))), func(p packed) error {
		if err := os.WriteFile(filepath.Join(dir, metaName), p.meta, 0o600); err != nil {
			return err
		}
		return w.build(t.Context(), "B", p)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	var files bytes.Buffer
	end, err := w.pack("B", time.Time{}, &files)
	if err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, legacyName), files.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := VerifyDeep(t.Context(), dir, VerifyOptions{Temp: t.TempDir()})
	if err != nil || m.Streams[0].Messages != 20 || !m.Streams[0].Unchecked {
		t.Fatalf("%+v %v", m, err)
	}
	for _, as := range []string{"", "OTHER"} {
		to := newBus(t)
		to.restore(dir, RestoreOptions{As: as})
		if d := cmp.Diff(from.dump("B"), to.dump(to.names()[0])); d != "" {
			t.Error(d)
		}
	}
	b := files.Bytes()
	if err := os.WriteFile(filepath.Join(dir, legacyName), b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), dir, VerifyOptions{}); !errors.Is(err, ErrBad) {
		t.Errorf("%v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What nats-server remembers of what it wrote fits the budget: a burst of it, and then as much as it forgets.
func TestPaced(t *testing.T) {
	t.Parallel()
	now := at(0)
	p := &paced{budget: 1200, left: 1200, at: now}
	if w := p.take(1200, now); w != 0 {
		t.Errorf("a first burst waits %s", w)
	}
	if w := p.take(100, now); w != time.Second {
		t.Errorf("more than the budget waits %s", w)
	}
	if w := p.take(300, now.Add(4*time.Second)); w != 0 {
		t.Errorf("what it has forgotten since waits %s", w)
	}
	if w := p.take(1200, now.Add(time.Hour)); w != 0 {
		t.Errorf("a burst after a long time waits %s", w)
	}
	if m := memoryBudget(); m < leastMemory {
		t.Errorf("the budget is %d", m)
	}
}

// A restore asks for room before it begins, and sweeps what a killed one has left where it works.
func TestWorkshop(t *testing.T) {
	t.Parallel()
	file := three(t).archive()
	b := newBus(t)
	_, err := Restore(t.Context(), b.nc, file, RestoreOptions{Temp: t.TempDir(), Free: func(string) (uint64, error) { return 1 << 20, nil }})
	if err == nil || !strings.Contains(err.Error(), "has 1.0 MiB free, and rebuilding needs some 64 MiB; name another folder with --tmp") {
		t.Errorf("%v", err)
	}
	temp := t.TempDir()
	other, err := newWorkshop(temp)
	if err != nil {
		t.Fatal(err)
	}
	defer other.remove()
	killed := filepath.Join(temp, workshopName+"killed")
	if err := os.MkdirAll(filepath.Join(killed, "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(killed, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.restore(file, RestoreOptions{Temp: temp})
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); !slices.Equal(left, []string{other.dir}) {
		t.Errorf("there is %v", left)
	}
}

// nats-server 2.15.2 removes an account's folder, if it is empty, a moment after a stream was deleted, and what it restores in that
// moment fails for want of the folder. Here that moment never ends.
func TestReplaceWhileFoldersAreSwept(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}})
	b.publish("a", 0, 3)
	file := b.archive()
	before := b.dump("A")
	ctx, stop := context.WithCancel(t.Context())
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		account := filepath.Join(b.opts.StoreDir, "jetstream", "$G")
		for ctx.Err() == nil {
			_ = os.Remove(filepath.Join(account, "streams"))
			_ = os.Remove(account)
		}
	})
	defer sweeper.Wait()
	defer stop()
	for i := range 15 {
		out, err := Restore(t.Context(), b.nc, file, RestoreOptions{Replace: true})
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if err := os.Remove(out.Kept); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(before, b.dump("A")); d != "" {
		t.Error(d)
	}
}
