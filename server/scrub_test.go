package server_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// small blocks, so that there are many: JetStream makes them so for a stream of so few bytes
const smallBlocks = 120_000

// scrubber reads a bus's store again, round after round.
type scrubber struct {
	*integrity.Scrub
	mu    sync.Mutex
	found []ledger.Finding
	round func()
}

func newScrubber(t *testing.T, s *server.Server, again ...time.Duration) *scrubber {
	v := &scrubber{}
	sc := server.NewScrub(s, func(f ledger.Finding) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.found = append(v.found, f)
	})
	sc.Again = again
	sc.Failed = func(stream string, err error) { t.Errorf("%s: %v", stream, err) }
	v.Scrub = sc
	v.round = func() { sc.Round(t.Context()) }
	return v
}

// take is what was found since it was asked last.
func (v *scrubber) take() []ledger.Finding {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer func() { v.found = nil }()
	return v.found
}

// Whatever is damaged while the bus runs is found in the next round, once, with its place, and copied aside.
func TestScrubFindsDamage(t *testing.T) {
	t.Parallel()
	s := start(t, onDisk(t, toml(fmt.Sprintf(`
[bus]
default_streams = false
[scrub]
rate = "0"
[[streams]]
name = "PAY"
subjects = ["pay.*"]
max_bytes = %d
discard = "new"
[[streams.consumers]]
name = "engine"
`, smallBlocks))))
	js := js(t, s)
	last := uint64(0)
	for i := range 150 {
		ack, err := js.Publish(context.Background(), "pay.booked", fmt.Appendf(nil, `{"payment":%d,"note":"%0500d"}`, i, i))
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Sequence
	}
	dir := filepath.Join(s.Config().StoreDir(), "jetstream", "$G", "streams", "PAY")
	state := filepath.Join(dir, "obs", "engine", "o.dat")
	c, err := js.Consumer(context.Background(), "PAY", "engine")
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DoubleAck(context.Background()); err != nil {
		t.Fatal(err)
	}
	until(t, "the state is on the disk", func() bool { _, err := os.Stat(state); return err == nil })
	v := newScrubber(t, s, time.Millisecond, 10*time.Millisecond)
	for range 2 {
		if v.round(); len(v.take()) > 0 {
			t.Fatal("found something in a store without damage")
		}
	}
	edit := func(f func([]byte) []byte) func(string) error {
		return func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, f(b), 0o600)
			}
			return errors.Join(err, os.Chtimes(path, info.ModTime(), info.ModTime())) // the disk tells nobody
		}
	}
	flip := func(at int) func(string) error {
		return edit(func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 8; return b })
	}
	blocks := 0
	for ; ; blocks++ {
		if _, err := os.Stat(filepath.Join(dir, "msgs", fmt.Sprint(blocks+1)+".blk")); err != nil {
			break
		}
	}
	if blocks < 3 {
		t.Fatalf("%d blocks", blocks)
	}
	for _, d := range []struct {
		name, file string
		do         func(string) error
		want       string
	}{
		{"a subject's end", "msgs/2.blk", flip(20), "it has changed, and nobody has written to it"},
		{"a message", "msgs/1.blk", flip(700), "message 2; nats-server may cut off the rest of the block"},
		{"the last message", fmt.Sprintf("msgs/%d.blk", blocks), flip(-20), fmt.Sprintf("messages from %d on", last)},
		{"the description", "meta.inf", flip(9), "it does not match meta.sum"},
		{"the consumer's description", "obs/engine/meta.sum", edit(func(b []byte) []byte { return b[:3] }), "it is no checksum"},
		{"the consumer's state", "obs/engine/o.dat", edit(func(b []byte) []byte { return b[:4] }), "obs/engine/o.dat is damaged"},
		{"a block that is gone", "msgs/2.blk", os.Remove, "nats-server says it has them): messages "},
	} {
		if err := d.do(filepath.Join(dir, d.file)); err != nil {
			t.Fatal(err)
		}
		v.round()
		found := v.take()
		if len(found) != 1 || !strings.Contains(found[0].String(), d.want) || found[0].Stream != "PAY" || found[0].Kind != ledger.Damage {
			t.Errorf("%s: %v", d.name, found)
			continue
		}
		if _, copied, ok := strings.Cut(found[0].What, "a copy is "); d.name != "a block that is gone" && !ok {
			t.Errorf("%s: no copy: %s", d.name, found[0].What)
		} else if ok {
			if _, err := os.Stat(filepath.Join(s.Config().StoreDir(), copied)); err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
		}
		if v.round(); len(v.take()) > 0 {
			t.Errorf("%s: told twice", d.name)
		}
	}
}

// The bus scrubs by itself, at its rate, remembers over a restart what it has read, and says what it found where everybody
// looks.
func TestBusScrubs(t *testing.T) {
	t.Parallel()
	cfg := onDisk(t)
	s := server.New(cfg, logTo(t), server.ScrubAtOnce)
	t.Cleanup(func() { stop(t, s) })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, js(t, s), "events.audit.x", 20)
	until(t, "everything was read", func() bool { return s.Scrub().Streams == 8 })
	if p := s.Scrub(); p.Oldest.IsZero() || len(s.State().Findings) > 0 {
		t.Errorf("%+v %v", p, s.State().Findings)
	}
	began := s.Scrub().Oldest
	stop(t, s)
	s = start(t, cfg)
	until(t, "remembered", func() bool { return s.Scrub().Streams == 8 })
	if p := s.Scrub(); !p.Oldest.Equal(began) || p.Bytes > 0 {
		t.Errorf("%+v, was %s", p, began)
	}
	stop(t, s)
	if err := os.Remove(filepath.Join(cfg.StoreDir(), "deltran-bus.scrub")); err != nil {
		t.Fatal(err)
	}
	s = server.New(cfg, logTo(t), server.ScrubAtOnce)
	t.Cleanup(func() { stop(t, s) })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	block := filepath.Join(cfg.StoreDir(), "jetstream", "$G", "streams", "AUDIT", "msgs", "1.blk")
	b, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	b[30] ^= 1
	if err := os.WriteFile(block, b, 0o600); err != nil {
		t.Fatal(err)
	}
	sc := newScrubber(t, s, time.Millisecond)
	sc.round()
	if found := sc.take(); len(found) != 1 {
		t.Errorf("%v", found)
	}
}

// It keeps to its rate: the time that it takes is what the bytes take, and not much less.
func TestScrubRate(t *testing.T) {
	t.Parallel()
	s := start(t, onDisk(t))
	publish(t, js(t, s), "events.audit.x", 100)
	v := newScrubber(t, s)
	v.Limits = func() (int64, time.Duration) { return 50_000, time.Hour }
	began := time.Now()
	v.round()
	if least := time.Duration(float64(v.Progress().Bytes)/50_000*float64(time.Second)) - 200*time.Millisecond; v.Progress().Bytes < 5000 || time.Since(began) < least {
		t.Errorf("%d bytes took %s", v.Progress().Bytes, time.Since(began))
	}
}

var scrubFor = 2 * time.Second

// Read in a loop while everything happens to it that can happen to a store, nothing in it is ever called damaged.
func TestScrubRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	if v := os.Getenv("DELTRAN_SCRUB_FOR"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatal(err)
		}
		scrubFor = d
	}
	s := start(t, onDisk(t, toml("[bus]\ndefault_streams = false\n[scrub]\nrate = \"0\"\n[nats.jetstream]\nsync_interval = \"2s\"\n")))
	js := js(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), scrubFor)
	defer cancel()
	configs := map[string]jetstream.StreamConfig{
		"PLAIN":      {MaxBytes: 64 << 20},
		"FEW":        {MaxBytes: smallBlocks},
		"LAST":       {MaxMsgsPerSubject: 2, MaxBytes: 10 * smallBlocks},
		"AGED":       {MaxAge: 300 * time.Millisecond, Duplicates: 100 * time.Millisecond},
		"TIMED":      {AllowMsgTTL: true},
		"PRESSED":    {MaxBytes: smallBlocks, Compression: jetstream.S2Compression},
		"QUEUE":      {Retention: jetstream.WorkQueuePolicy},
		"ROLLED":     {AllowRollup: true},
		"BATCHED":    {AllowAtomicPublish: true},
		"TRANSIENT":  {},
		"DISCARDING": {MaxBytes: smallBlocks, Discard: jetstream.DiscardNew},
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, c := range configs {
		c.Name, c.Subjects = name, []string{name + ".>"}
		a := &agitator{js: js, config: c, rand: rand.New(rand.NewPCG(1, uint64(len(name))))}
		if _, err := js.CreateStream(ctx, c); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				a.act(ctx)
			}
		})
	}
	v := newScrubber(t, s)
	rounds := 0
	for ; ctx.Err() == nil; rounds++ {
		v.round()
		for _, f := range v.take() {
			t.Errorf("%s (offset %d)", f, f.Offset)
		}
	}
	t.Logf("%d rounds", rounds)
}

// agitator does to a stream whatever can be done to it.
type agitator struct {
	js     jetstream.JetStream
	config jetstream.StreamConfig
	rand   *rand.Rand
}

func (a *agitator) act(ctx context.Context) {
	name := a.config.Name
	publish := func(n int) {
		for range n {
			m := nats.NewMsg(fmt.Sprintf("%s.%d", name, a.rand.IntN(20)))
			m.Data = make([]byte, a.rand.IntN(3000))
			if a.config.AllowMsgTTL && a.rand.IntN(3) == 0 {
				m.Header.Set("Nats-TTL", "1s")
			}
			if a.config.AllowRollup && a.rand.IntN(100) == 0 {
				m.Header.Set("Nats-Rollup", "sub")
			}
			a.js.PublishMsg(ctx, m) // a full stream refuses, one that is being made anew is not there
		}
	}
	publish(20 + a.rand.IntN(60))
	s, err := a.js.Stream(ctx, name)
	if err != nil {
		return
	}
	st := s.CachedInfo().State
	if st.LastSeq == 0 {
		return
	}
	some := func() uint64 { return st.FirstSeq + a.rand.Uint64N(max(1, st.LastSeq-min(st.FirstSeq, st.LastSeq))) }
	switch a.rand.IntN(8) {
	case 0:
		for range 30 {
			s.DeleteMsg(ctx, some())
		}
	case 1:
		for range 5 {
			s.SecureDeleteMsg(ctx, some())
		}
	case 2:
		s.Purge(ctx, jetstream.WithPurgeSubject(fmt.Sprintf("%s.%d", name, a.rand.IntN(20))))
	case 3:
		s.Purge(ctx, jetstream.WithPurgeSequence(some()))
	case 4:
		if a.rand.IntN(5) == 0 {
			s.Purge(ctx)
		}
	case 5:
		c := a.config
		c.Description = fmt.Sprint(a.rand.Uint64())
		a.js.UpdateStream(ctx, c)
	case 6:
		c, err := s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "C", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 2 + a.rand.IntN(3)})
		if err != nil {
			return
		}
		if got, err := c.FetchNoWait(50); err == nil {
			for m := range got.Messages() {
				m.Ack()
			}
		}
		if a.rand.IntN(4) == 0 {
			s.DeleteConsumer(ctx, "C")
		}
	case 7:
		if name == "TRANSIENT" {
			a.js.DeleteStream(ctx, name)
			a.js.CreateStream(ctx, a.config)
		}
	}
}
