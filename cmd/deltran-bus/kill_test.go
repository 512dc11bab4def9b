//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var kills = flag.Int("kills", 3, "how often TestPublisherOverKills kills the bus")

// The bus is killed again and again in the middle of batches, while one publisher goes on. What it said is stored, is
// stored where it said, once; and all else that it took is too, in its order.
func TestPublisherOverKills(t *testing.T) {
	t.Parallel()
	bus := &killed{t: t, dir: t.TempDir(), listen: "127.0.0.1:0"}
	bus.start()
	defer func() { bus.kill() }()
	nc, err := nats.Connect(bus.at.Client, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p, err := event.NewPublisher(nc)
	if err != nil {
		t.Fatal(err)
	}
	const subject = "events.transactions.created"
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(30+3**kills)*time.Second)
	defer cancel()
	var acked atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	at := make([]map[string]uint64, 9) // by publisher: the sequence of each event
	var order []string                 // of the one that does not wait
	for who := range at {
		at[who] = map[string]uint64{}
		note := func(id string, ack event.Ack, err error) {
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
			at[who][id] = ack.Sequence
			acked.Add(1)
		}
		event := func(n int) event.Event {
			e, err := event.New("transaction.created", fmt.Sprint(who), json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)))
			if err != nil {
				t.Error(err)
			}
			return e
		}
		if who > 0 {
			wg.Go(func() {
				for n := 0; !done.Load(); n++ {
					e := event(n)
					ack, err := p.Publish(ctx, subject, e)
					note(e.ID, ack, err)
				}
			})
			continue
		}
		window := make(chan func(), 500)
		wg.Go(func() {
			defer close(window)
			for n := 0; !done.Load(); n++ {
				e := event(n)
				f, err := p.PublishAsync(ctx, subject, e)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, e.ID)
				window <- func() { ack, err := f.Ack(); note(e.ID, ack, err) }
			}
		})
		wg.Go(func() {
			for wait := range window {
				wait()
			}
		})
	}
	for range *kills {
		enough := acked.Load() + 2000
		for acked.Load() < enough && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		bus.kill()
		bus.start()
	}
	done.Store(true)
	wg.Wait()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}

	js := bus.jetStream()
	defer js.Conn().Close()
	stored, batched := bus.stored(ctx, js)
	sequence := map[string]uint64{}
	for i, id := range stored {
		if sequence[id] != 0 {
			t.Fatalf("%s is at %d and at %d", id, sequence[id], i+1)
		}
		sequence[id] = uint64(i + 1)
	}
	n := 0
	for _, events := range at {
		for id, seq := range events {
			if n++; sequence[id] != seq {
				t.Fatalf("%s is said to be at %d, and is at %d", id, seq, sequence[id])
			}
		}
	}
	last := uint64(0)
	for i, id := range order {
		if sequence[id] <= last {
			t.Fatalf("event %d is at %d, behind %d", i, sequence[id], last)
		}
		last = sequence[id]
	}
	if n != len(stored) || batched == 0 {
		t.Errorf("%d acknowledged, %d stored, %d of them in batches", n, len(stored), batched)
	}
	t.Logf("%d kills, %d events, %d of them in batches", *kills, n, batched)
}

// killed is a bus that is always killed, and always at the same address.
type killed struct {
	t      *testing.T
	dir    string
	listen string
	args   []string
	at     addresses
	cmd    *exec.Cmd
	log    bytes.Buffer
}

func (b *killed) start() {
	b.t.Helper()
	ports := filepath.Join(b.dir, "ports.json")
	_ = os.Remove(ports)
	b.log.Reset()
	b.cmd = exec.Command("deltran-bus", append([]string{"--listen", b.listen, "--monitor", "", "--store-dir", filepath.Join(b.dir, "store"), "--ports-file", ports}, b.args...)...)
	b.cmd.Stderr = &b.log
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if text, err := os.ReadFile(ports); err == nil && json.Unmarshal(text, &b.at) == nil {
			break
		}
		if time.Now().After(deadline) {
			b.kill()
			b.t.Fatalf("the bus did not start:\n%s", &b.log)
		}
	}
	u, err := url.Parse(b.at.Client)
	if err != nil {
		b.t.Fatal(err)
	}
	b.listen = u.Host
}

func (b *killed) kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}

func (b *killed) jetStream() jetstream.JetStream {
	b.t.Helper()
	nc, err := nats.Connect(b.at.Client)
	if err != nil {
		b.t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

// all are the messages of a stream, with their sequences, in their order.
func (b *killed) all(ctx context.Context, js jetstream.JetStream, stream string) iter.Seq2[uint64, jetstream.Msg] {
	b.t.Helper()
	c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.t.Fatal(err)
	}
	messages, err := c.Messages(jetstream.StopAfter(int(c.CachedInfo().NumPending)))
	if err != nil {
		b.t.Fatal(err)
	}
	return func(yield func(uint64, jetstream.Msg) bool) {
		defer messages.Stop()
		for range c.CachedInfo().NumPending {
			m, err := messages.Next(jetstream.NextContext(ctx))
			if err != nil {
				b.t.Fatal(err)
			}
			meta, err := m.Metadata()
			if err != nil {
				b.t.Fatal(err)
			}
			if !yield(meta.Sequence.Stream, m) {
				return
			}
		}
	}
}

// stored are the ids in TRANSACTIONS, in their order, and how many came in batches.
func (b *killed) stored(ctx context.Context, js jetstream.JetStream) (ids []string, batched int) {
	b.t.Helper()
	for _, m := range b.all(ctx, js, "TRANSACTIONS") {
		if e, err := event.Decode(m.Data()); err != nil || e.ID != m.Headers().Get(nats.MsgIdHdr) {
			b.t.Fatalf("%s: %v", m.Data(), err)
		}
		ids = append(ids, m.Headers().Get(nats.MsgIdHdr))
		if strings.TrimSpace(m.Headers().Get("Nats-Batch-Id")) != "" {
			batched++
		}
	}
	return ids, batched
}
