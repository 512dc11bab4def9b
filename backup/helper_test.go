package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bus is a stock nats-server in the test's process, on a folder of its own.
type bus struct {
	t    *testing.T
	opts *natsserver.Options
	srv  *natsserver.Server
	nc   *nats.Conn
	js   jetstream.JetStream
}

func newBus(t *testing.T, change ...func(*natsserver.Options)) *bus {
	t.Helper()
	b := &bus{t: t, opts: &natsserver.Options{
		ServerName: "bus", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 8 << 30, JetStreamMaxMemory: 1 << 30,
		MaxPayload: 9 << 20, MaxPending: 256 << 20,
	}}
	for _, f := range change {
		f(b.opts)
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *bus) start() {
	b.t.Helper()
	srv, err := natsserver.NewServer(b.opts.Clone())
	if err != nil {
		b.t.Fatal(err)
	}
	if os.Getenv("NATS_LOG") != "" {
		o := b.opts.Clone()
		o.NoLog = false
		srv.SetLoggerV2(testLogger{b.t}, false, false, false)
	}
	srv.Start()
	b.srv = srv
	b.dial("", nats.InProcessServer(srv))
}

func (b *bus) dial(url string, o ...nats.Option) {
	b.t.Helper()
	var err error
	if b.nc, err = nats.Connect(url, o...); err != nil {
		b.t.Fatal(err)
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(20*time.Second)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bus) stop() {
	b.nc.Close()
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
}

type testLogger struct{ *testing.T }

func (l testLogger) Noticef(f string, a ...any) { l.Logf("INF "+f, a...) }
func (l testLogger) Warnf(f string, a ...any)   { l.Logf("WRN "+f, a...) }
func (l testLogger) Fatalf(f string, a ...any)  { l.Logf("FTL "+f, a...) }
func (l testLogger) Errorf(f string, a ...any)  { l.Logf("ERR "+f, a...) }
func (l testLogger) Debugf(f string, a ...any)  {}
func (l testLogger) Tracef(f string, a ...any)  {}

func (b *bus) stream(cfg jetstream.StreamConfig) jetstream.Stream {
	b.t.Helper()
	s, err := b.js.CreateStream(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatalf("%s: %v", cfg.Name, err)
	}
	return s
}

// publish publishes n messages with ids of their own.
func (b *bus) publish(subject string, from, n int) {
	b.t.Helper()
	for i := from; i < from+n; i++ {
		if _, err := b.js.Publish(b.t.Context(), subject, fmt.Appendf(nil, "message %d", i), jetstream.WithMsgID(fmt.Sprint(subject, i))); err != nil {
			b.t.Fatal(err)
		}
	}
}

// dump is everything that a stream holds, and how far its durable consumers are, got message by message: not by what is
// tested here.
func (b *bus) dump(name string) string {
	b.t.Helper()
	ctx := b.t.Context()
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	st := s.CachedInfo().State
	var out bytes.Buffer
	fmt.Fprintf(&out, "%d messages, %d to %d\n", st.Msgs, max(st.FirstSeq, 1), st.LastSeq) // a new one begins at 0 and at 1
	for seq := st.FirstSeq; seq <= st.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			continue
		}
		h, _ := json.Marshal(m.Header)
		data := string(m.Data)
		if len(data) > 100 {
			data = digestOf(partSum(m.Data))
		}
		fmt.Fprintf(&out, "%d %d %s %s %q\n", m.Sequence, m.Time.UnixNano(), m.Subject, h, data)
	}
	list := s.ListConsumers(ctx)
	var consumers []string
	for c := range list.Info() {
		for _, at := range []*jetstream.SequenceInfo{&c.Delivered, &c.AckFloor} { // nothing is there before the first one
			at.Stream = max(at.Stream, max(st.FirstSeq, 1)-1)
		}
		if c.Config.AckPolicy == jetstream.AckAllPolicy {
			c.NumAckPending, c.NumRedelivered = 0, 0 // nats-server counts those that a later message's acknowledgement has settled
		}
		if c.Config.Durable != "" {
			consumers = append(consumers, fmt.Sprintf("%s: delivered %d/%d, acknowledged %d/%d, %d pending, %d to be acknowledged, %d redelivered\n", c.Name,
				c.Delivered.Consumer, c.Delivered.Stream, c.AckFloor.Consumer, c.AckFloor.Stream, c.NumPending, c.NumAckPending, c.NumRedelivered))
		}
	}
	if list.Err() != nil {
		b.t.Fatal(list.Err())
	}
	slices.Sort(consumers)
	for _, c := range consumers {
		out.WriteString(c)
	}
	return out.String()
}

func partSum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// names are the bus's streams.
func (b *bus) names() []string {
	b.t.Helper()
	names, err := newClient(b.nc, 0).names(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// archive backs the bus up and returns the file.
func (b *bus) archive(streams ...string) string {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "archive.tar.gz")
	if _, _, err := CreateFile(b.t.Context(), b.nc, file, CreateOptions{Streams: streams, Version: "test"}); err != nil {
		b.t.Fatal(err)
	}
	return file
}

func (b *bus) restore(file string, o RestoreOptions) *Restored {
	b.t.Helper()
	if o.Temp == "" {
		o.Temp = b.t.TempDir()
	}
	r, err := Restore(b.t.Context(), b.nc, file, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("it did not come: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
