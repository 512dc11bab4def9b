package blocks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// kinds are streams of every sort, with what happens to them.
var kinds = []struct {
	name   string
	config jetstream.StreamConfig
	act    func(*actor)
	exact  bool // after a kill as well: nats-server enforces no limit that deletes without a trace
}{
	{"plain", jetstream.StreamConfig{}, func(a *actor) { a.publish(500, 300) }, true},
	{"empty", jetstream.StreamConfig{}, func(a *actor) {}, true},
	{"headers", jetstream.StreamConfig{}, func(a *actor) { a.headers = true; a.publish(500, 300) }, true},
	{"deletes", jetstream.StreamConfig{}, func(a *actor) { a.publish(400, 200); a.remove(150, false) }, true},
	{"erased", jetstream.StreamConfig{}, func(a *actor) { a.publish(400, 200); a.remove(150, true) }, true},
	{"front deleted", jetstream.StreamConfig{}, func(a *actor) {
		a.publish(300, 100)
		for seq := range uint64(120) {
			a.delete(seq+1, false)
		}
	}, true},
	{"purged", jetstream.StreamConfig{}, func(a *actor) { a.publish(300, 100); a.purge(); a.publish(50, 100) }, true},
	{"purged empty", jetstream.StreamConfig{}, func(a *actor) { a.publish(300, 100); a.purge() }, true},
	{"purged by subject", jetstream.StreamConfig{}, func(a *actor) {
		a.publish(400, 100)
		a.purge(jetstream.WithPurgeSubject(a.config.Name + ".3"))
		a.purge(jetstream.WithPurgeSubject(a.config.Name+".4"), jetstream.WithPurgeKeep(3))
	}, true},
	{"purged to sequence", jetstream.StreamConfig{}, func(a *actor) { a.publish(400, 100); a.purge(jetstream.WithPurgeSequence(200)) }, true},
	{"max messages", jetstream.StreamConfig{MaxMsgs: 100}, func(a *actor) { a.publish(350, 100) }, false},
	{"max bytes", jetstream.StreamConfig{MaxBytes: 20_000}, func(a *actor) { a.publish(350, 100) }, false},
	{"one per subject", jetstream.StreamConfig{MaxMsgsPerSubject: 1}, func(a *actor) { a.publish(350, 100) }, false},
	{"three per subject", jetstream.StreamConfig{MaxMsgsPerSubject: 3}, func(a *actor) { a.publish(350, 100); a.remove(3, false) }, false},
	{"compressed", jetstream.StreamConfig{Compression: jetstream.S2Compression, MaxBytes: 64 << 20}, func(a *actor) { a.publish(600, 30_000); a.remove(100, false) }, true},
	{"rolled over", jetstream.StreamConfig{}, func(a *actor) { a.publish(900, 30_000); a.remove(400, false) }, true},
	{"compacted", jetstream.StreamConfig{}, func(a *actor) { a.publish(900, 30_000); a.thin(); a.publish(10, 100) }, true},
	{"large", jetstream.StreamConfig{}, func(a *actor) { a.publish(20, 900_000) }, true},
	{"rollups", jetstream.StreamConfig{AllowRollup: true}, func(a *actor) {
		a.publish(200, 100)
		a.rollup("sub", a.config.Name+".2")
		a.publish(20, 100)
		a.rollup("all", a.config.Name+".1")
		a.publish(20, 100)
	}, true},
	{"message TTL", jetstream.StreamConfig{AllowMsgTTL: true}, func(a *actor) { a.headers, a.ttl = true, "1h"; a.publish(200, 100); a.remove(20, false) }, true},
	{"work queue", jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy}, func(a *actor) { a.publish(300, 100); a.consume(170) }, true},
	{"interest", jetstream.StreamConfig{Retention: jetstream.InterestPolicy}, func(a *actor) { a.consumer(); a.publish(300, 100); a.consume(170) }, true},
	{"atomic batches", jetstream.StreamConfig{AllowAtomicPublish: true}, func(a *actor) { a.publish(20, 100); a.batch(50); a.publish(20, 100); a.batch(3) }, true},
	{"first sequence", jetstream.StreamConfig{FirstSeq: 1_000_000}, func(a *actor) { a.publish(100, 100); a.remove(10, false) }, true},
	{"schedules", jetstream.StreamConfig{AllowMsgSchedules: true}, func(a *actor) { a.publish(50, 100); a.schedule(); a.publish(50, 100) }, true},
}

// Whatever happened to a stream, Scan and JetStream agree on every message, after a clean stop and after a kill, and
// nothing is called damaged.
func TestScanAgreesWithJetStream(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	e := open(t, store)
	want := map[string]map[uint64]message{}
	for i, k := range kinds {
		c := k.config
		c.Name = fmt.Sprintf("S%d", i)
		c.Subjects = []string{c.Name + ".>"}
		a := &actor{engine: e, config: c, rand: rand.New(rand.NewPCG(1, uint64(i)))}
		a.s = e.stream(c)
		k.act(a)
		want[c.Name] = a.contents()
	}
	killed := e.killed()
	e.stop()
	if b, err := os.ReadFile(filepath.Join(folder(store, "S14"), "msgs", "1.blk")); err != nil || kinds[14].name != "compressed" || !bytes.HasPrefix(b, []byte("cmp")) {
		t.Errorf("a compressed block begins with %.10q, %v", b, err)
	}
	for i, k := range kinds {
		name := fmt.Sprintf("S%d", i)
		t.Run(k.name, func(t *testing.T) {
			t.Run("stopped", func(t *testing.T) {
				got, r := contents(t, folder(store, name), true)
				same(t, want[name], got, true)
				quiet(t, r)
			})
			t.Run("killed", func(t *testing.T) {
				got, r := contents(t, folder(killed, name), false)
				same(t, want[name], got, k.exact)
				quiet(t, r)
			})
		})
	}
}

func quiet(t *testing.T, r *blocks.Report) {
	t.Helper()
	for _, d := range r.Damage {
		t.Errorf("%s", d)
	}
	if len(r.Unknown)+len(r.Leftovers)+len(r.Gaps) > 0 {
		t.Errorf("unknown %q, left over %q, gaps %v", r.Unknown, r.Leftovers, r.Gaps)
	}
}

type message struct {
	subject, header, payload string
	time                     int64
}

// contents are the live messages of a scan.
func contents(t testing.TB, dir string, clean bool) (map[uint64]message, *blocks.Report) {
	t.Helper()
	all := map[uint64]message{}
	r := scan(t, dir, blocks.Options{Clean: clean, Visit: func(r *blocks.Record) error {
		if r.Kind == blocks.Message {
			if _, again := all[r.Seq]; again {
				return fmt.Errorf("message %d twice", r.Seq)
			}
			all[r.Seq] = message{string(r.Subject), string(r.Header), string(r.Payload), r.Time}
		}
		return nil
	}})
	for seq := range all {
		if !r.Live(seq) {
			delete(all, seq)
		}
	}
	if r.Messages != uint64(len(all)) {
		t.Errorf("%d messages, and %d are live", r.Messages, len(all))
	}
	return all, r
}

func same(t *testing.T, want, got map[uint64]message, exact bool) {
	t.Helper()
	for seq, m := range want {
		if got[seq] != m {
			t.Fatalf("message %d of %d: %.200v, want %.200v", seq, len(want), got[seq], m)
		}
	}
	if exact && len(got) != len(want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
}

// actor does things to one stream.
type actor struct {
	*engine
	config  jetstream.StreamConfig
	s       jetstream.Stream
	rand    *rand.Rand
	headers bool
	ttl     string
}

func (a *actor) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatalf("%s: %v", a.config.Name, err)
	}
}

func (a *actor) message(size int) *nats.Msg {
	m := nats.NewMsg(fmt.Sprintf("%s.%d", a.config.Name, a.rand.IntN(10)))
	m.Data = bytes.Repeat([]byte{byte('a' + a.rand.IntN(26))}, a.rand.IntN(size))
	for i := range min(len(m.Data), 64) {
		m.Data[i] = byte(a.rand.Uint32())
	}
	if a.headers {
		m.Header.Set("Event-Type", "payment")
	}
	if a.ttl != "" && a.rand.IntN(2) == 0 {
		m.Header.Set("Nats-TTL", a.ttl)
	}
	return m
}

func (a *actor) publish(n, size int) {
	a.t.Helper()
	for range n {
		_, err := a.js.PublishMsg(a.ctx(), a.message(size))
		a.must(err)
	}
}

func (a *actor) info(opts ...jetstream.StreamInfoOpt) *jetstream.StreamInfo {
	a.t.Helper()
	i, err := a.s.Info(a.ctx(), opts...)
	a.must(err)
	return i
}

func (a *actor) delete(seq uint64, secure bool) {
	a.t.Helper()
	f := a.s.DeleteMsg
	if secure {
		f = a.s.SecureDeleteMsg
	}
	if err := f(a.ctx(), seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		a.must(err)
	}
}

func (a *actor) remove(n int, secure bool) {
	s := a.info().State
	for range n {
		a.delete(s.FirstSeq+a.rand.Uint64N(s.LastSeq-s.FirstSeq+1), secure)
	}
}

// thin deletes so much that nats-server rewrites the blocks.
func (a *actor) thin() {
	s := a.info().State
	for seq := s.FirstSeq + 1; seq < s.LastSeq-10; seq++ {
		if seq%5 != 0 {
			a.delete(seq, false)
		}
	}
}

func (a *actor) purge(opts ...jetstream.StreamPurgeOpt) {
	a.t.Helper()
	a.must(a.s.Purge(a.ctx(), opts...))
}

func (a *actor) rollup(what, subject string) {
	m := nats.NewMsg(subject)
	m.Header.Set("Nats-Rollup", what)
	_, err := a.js.PublishMsg(a.ctx(), m)
	a.must(err)
}

func (a *actor) consumer() jetstream.Consumer {
	a.t.Helper()
	c, err := a.s.CreateOrUpdateConsumer(a.ctx(), jetstream.ConsumerConfig{Durable: "C", AckPolicy: jetstream.AckExplicitPolicy})
	a.must(err)
	return c
}

func (a *actor) consume(n int) {
	a.t.Helper()
	batch, err := a.consumer().Fetch(n)
	a.must(err)
	for m := range batch.Messages() {
		a.must(m.DoubleAck(a.ctx()))
	}
	a.must(batch.Error())
}

func (a *actor) batch(n int) {
	a.t.Helper()
	id := fmt.Sprint(a.rand.Uint64())
	for i := range n {
		m := a.message(100)
		m.Header.Set("Nats-Batch-Id", id)
		m.Header.Set("Nats-Batch-Sequence", fmt.Sprint(i+1))
		if i == n-1 {
			m.Header.Set("Nats-Batch-Commit", "1")
		}
		reply, err := a.nc.RequestMsgWithContext(a.ctx(), m)
		a.must(err)
		if bytes.Contains(reply.Data, []byte("error")) {
			a.t.Fatalf("%s", reply.Data)
		}
	}
}

func (a *actor) schedule() {
	m := nats.NewMsg(a.config.Name + ".later")
	m.Header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	m.Header.Set("Nats-Schedule-Target", a.config.Name+".1")
	_, err := a.js.PublishMsg(a.ctx(), m)
	a.must(err)
}

// contents are the messages as JetStream gives them.
func (a *actor) contents() map[uint64]message {
	a.t.Helper()
	i := a.info(jetstream.WithDeletedDetails(true))
	all := map[uint64]message{}
	deleted := map[uint64]bool{}
	for _, seq := range i.State.Deleted {
		deleted[seq] = true
	}
	for seq := i.State.FirstSeq; seq <= i.State.LastSeq && i.State.Msgs > 0; seq++ {
		if deleted[seq] {
			continue
		}
		reply, err := a.nc.Request("$JS.API.STREAM.MSG.GET."+a.config.Name, fmt.Appendf(nil, `{"seq":%d}`, seq), time.Minute)
		a.must(err)
		var m struct {
			Message struct {
				Subject    string
				Hdrs, Data []byte
				Time       time.Time
			}
		}
		a.must(json.Unmarshal(reply.Data, &m))
		all[seq] = message{m.Message.Subject, string(m.Message.Hdrs), string(m.Message.Data), m.Message.Time.UnixNano()}
	}
	if uint64(len(all)) != i.State.Msgs {
		a.t.Fatalf("%d messages of %d", len(all), i.State.Msgs)
	}
	return all
}
