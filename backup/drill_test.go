package backup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// drills is how many random buses are backed up and restored.
const drills = 50

// Whatever a bus holds is backed up, verified, restored on another one, and is the same there: every message, every
// consumer, and what is published twice is recognised.
func TestDrill(t *testing.T) {
	t.Parallel()
	for seed := range uint64(drills) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := seeded(seed)
			from := newBus(t)
			var streams []string
			for i := range 1 + r.IntN(3) {
				streams = append(streams, from.random(r, fmt.Sprintf("S%d", i), seed%25 == 10 && i == 0))
			}
			file := filepath.Join(t.TempDir(), "all.tar.gz")
			m, _, err := CreateFile(t.Context(), from.nc, file, CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			deep, err := VerifyDeep(t.Context(), file, VerifyOptions{Temp: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(m, deep); d != "" {
				t.Errorf("verified is not what was created:\n%s", d)
			}
			to := newBus(t, func(o *natsserver.Options) {
				o.SyncAlways = r.IntN(2) == 0
				if r.IntN(4) == 0 {
					o.JetStreamKey = "secret"
				}
			})
			to.restore(file, RestoreOptions{})
			if got := to.names(); !slices.Equal(got, streams) {
				t.Errorf("streams %v, not %v", got, streams)
			}
			for _, s := range streams {
				if d := cmp.Diff(from.dump(s), to.dump(s)); d != "" {
					t.Errorf("stream %s (-backed up +restored):\n%s", s, d)
				}
				from.sameConfig(to, s)
			}
			again, _, err := CreateFile(t.Context(), to.nc, filepath.Join(t.TempDir(), "again.tar.gz"), CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range m.Streams {
				if again.Streams[i].Digest != s.Digest {
					t.Errorf("stream %s: its digest was %s, and is %s", s.Name, s.Digest, again.Streams[i].Digest)
				}
			}
			for _, s := range streams {
				to.recognises(s)
			}
			// What was restored is also there, and the same, after a restart.
			before := to.dumps()
			to.stop()
			to.start()
			after := to.dumps()
			for _, s := range m.Streams {
				if s.Storage != "file" {
					continue
				}
				if d := cmp.Diff(before[s.Name], after[s.Name]); d != "" {
					t.Errorf("stream %s (-restored +after a restart):\n%s", s.Name, d)
				}
			}
		})
	}
}

// random makes a stream of any kind with any content.
func (b *bus) random(r *rand.Rand, name string, huge bool) string {
	t, ctx := b.t, b.t.Context()
	cfg := jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, AllowDirect: r.IntN(2) == 0, MaxMsgsPerSubject: -1}
	if r.IntN(6) == 0 {
		cfg.Storage = jetstream.MemoryStorage
	} else if r.IntN(3) == 0 {
		cfg.Compression = jetstream.S2Compression
	}
	switch r.IntN(6) {
	case 0:
		cfg.Retention = jetstream.WorkQueuePolicy
	case 1:
		cfg.Retention = jetstream.InterestPolicy
	}
	switch r.IntN(5) {
	case 0:
		cfg.MaxMsgsPerSubject = 3
	case 1:
		cfg.Discard, cfg.MaxBytes = jetstream.DiscardNew, 64<<20
	case 2:
		cfg.MaxAge, cfg.Duplicates = time.Hour, time.Minute
	case 3:
		cfg.FirstSeq = 1 + uint64(r.IntN(1000000))
	}
	cfg.AllowMsgTTL = r.IntN(4) == 0
	s := b.stream(cfg)
	var consumers []jetstream.Consumer
	for i := range r.IntN(3) {
		c := jetstream.ConsumerConfig{Durable: fmt.Sprintf("c%d", i), AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, MaxAckPending: 1000}
		if cfg.Retention == jetstream.WorkQueuePolicy {
			c.FilterSubject = fmt.Sprintf("%s.%d.>", name, i)
		} else if r.IntN(2) == 0 {
			c.AckPolicy = jetstream.AckAllPolicy
		}
		made, err := s.CreateConsumer(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		consumers = append(consumers, made)
	}
	n := r.IntN(120)
	if r.IntN(8) == 0 {
		n = 0
	}
	for i := range n {
		m := nats.NewMsg(fmt.Sprintf("%s.%d.x%d", name, r.IntN(3), r.IntN(5)))
		m.Data = make([]byte, r.IntN(1+[]int{0, 10, 1000, 100000}[r.IntN(4)]))
		for j := range m.Data {
			m.Data[j] = byte(r.Uint32())
		}
		if huge && i == n/2 {
			m.Data = make([]byte, 8<<20)
		}
		for h := range r.IntN(3) {
			m.Header.Add(fmt.Sprintf("X-%d", h), "välue "+fmt.Sprint(r.Uint32()))
		}
		if cfg.AllowMsgTTL && r.IntN(5) == 0 {
			m.Header.Set("Nats-TTL", []string{"2h", "never", "7200"}[r.IntN(3)])
		}
		if _, err := b.js.PublishMsg(ctx, m, jetstream.WithMsgID(fmt.Sprintf("%s-%d", name, i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range consumers {
		b.consume(r, c)
	}
	if n > 0 {
		first := s.CachedInfo().State.FirstSeq
		for range r.IntN(10) {
			_ = s.DeleteMsg(ctx, first+uint64(r.IntN(n+1)))
		}
		switch r.IntN(6) {
		case 0:
			_ = s.Purge(ctx, jetstream.WithPurgeSequence(first+uint64(n/3)))
		case 1:
			_ = s.Purge(ctx, jetstream.WithPurgeSubject(name+".1.>"))
		case 2:
			_ = s.DeleteMsg(ctx, first+uint64(n)-1) // the last one
		case 3:
			if r.IntN(3) == 0 {
				_ = s.Purge(ctx)
			}
		}
	}
	if cfg.Retention == jetstream.LimitsPolicy && r.IntN(8) == 0 {
		cfg.Sealed = true
		if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

// consume takes some messages and does something with each.
func (b *bus) consume(r *rand.Rand, c jetstream.Consumer) {
	batch, err := c.FetchNoWait(1 + r.IntN(20))
	if err != nil {
		b.t.Fatal(err)
	}
	for m := range batch.Messages() {
		switch do := r.IntN(4); {
		case do <= 1:
			err = m.DoubleAck(b.t.Context())
		case do == 2 && c.CachedInfo().Config.AckPolicy == jetstream.AckExplicitPolicy:
			err = m.Nak() // delivered again
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	again, err := c.FetchNoWait(1 + r.IntN(5))
	if err != nil {
		b.t.Fatal(err)
	}
	for range again.Messages() {
	}
	// How far it is, nats-server writes down some ten times a second.
	before := ""
	until(b.t, "the consumer's state is settled", func() bool {
		i, err := c.Info(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		now := fmt.Sprintf("%+v", i)
		defer func() { before = now }()
		return now == before || before != ""
	})
}

// sameConfig compares a stream's configuration on two buses.
func (b *bus) sameConfig(to *bus, name string) {
	b.t.Helper()
	get := func(b *bus) jetstream.StreamConfig {
		s, err := b.js.Stream(b.t.Context(), name)
		if err != nil {
			b.t.Fatal(err)
		}
		return s.CachedInfo().Config
	}
	if d := cmp.Diff(get(b), get(to)); d != "" {
		b.t.Errorf("stream %s (-backed up +restored):\n%s", name, d)
	}
}

// recognises publishes what the stream holds once more.
func (b *bus) recognises(name string) {
	b.t.Helper()
	ctx := context.Background()
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		b.t.Fatal(err)
	}
	st, cfg := s.CachedInfo().State, s.CachedInfo().Config
	if cfg.Sealed || cfg.Storage == jetstream.MemoryStorage {
		return
	}
	for seq := st.FirstSeq; seq <= st.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			continue
		}
		ack, err := b.js.Publish(ctx, m.Subject, []byte("again"), jetstream.WithMsgID(m.Header.Get("Nats-Msg-Id")))
		if err != nil || !ack.Duplicate || ack.Sequence != seq {
			b.t.Fatalf("stream %s: message %d was published again: %+v, %v", name, seq, ack, err)
		}
	}
}
