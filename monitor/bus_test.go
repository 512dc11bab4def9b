package monitor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testBus is a Bus around a real nats-server, whose state a test sets. It stands for *server.Server, so that every phase
// can be held for as long as a test looks at it.
type testBus struct {
	state    atomic.Pointer[server.State]
	nats     atomic.Pointer[natsserver.Server]
	declared []string // "stream A", "consumer A/c"
}

func (b *testBus) State() server.State      { return *b.state.Load() }
func (b *testBus) NATS() *natsserver.Server { return b.nats.Load() }
func (b *testBus) Scrub() integrity.Progress {
	return integrity.Progress{Bytes: 4711, Streams: 8, Oldest: time.Unix(1_700_000_000, 0)}
}
func (b *testBus) set(s server.State) { b.state.Store(&s) }

func (b *testBus) Missing() (missing []string) {
	v, err := b.NATS().Jsz(&natsserver.JSzOptions{Consumer: true})
	if err != nil {
		return b.declared
	}
	var there []string
	for _, a := range v.AccountDetails {
		for _, s := range a.Streams {
			there = append(there, "stream "+s.Name)
			for _, c := range s.Consumer {
				there = append(there, "consumer "+s.Name+"/"+c.Name)
			}
		}
	}
	for _, d := range b.declared {
		if !slices.Contains(there, d) {
			missing = append(missing, d)
		}
	}
	return missing
}

// opening is a bus without a NATS.
func opening() *testBus {
	b := &testBus{}
	b.set(server.State{Phase: server.Opening, Since: time.Now()})
	return b
}

// serving is a bus that serves, with the declared streams and consumers in place.
func serving(tb testing.TB, declared ...string) *testBus {
	tb.Helper()
	b := opening()
	b.declared = declared
	b.start(tb, &natsserver.Options{})
	js := b.js(tb)
	for _, d := range declared {
		b.create(tb, js, d)
	}
	b.set(servingState())
	return b
}

func (b *testBus) start(tb testing.TB, o *natsserver.Options) {
	tb.Helper()
	s := b.make(tb, o)
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		tb.Fatal("nats-server does not start")
	}
	b.nats.Store(s)
}

// make is a nats-server that has not been started.
func (b *testBus) make(tb testing.TB, o *natsserver.Options) *natsserver.Server {
	tb.Helper()
	o.Host, o.Port, o.StoreDir, o.JetStream = "127.0.0.1", natsserver.RANDOM_PORT, tb.TempDir(), true
	o.NoSigs, o.NoLog, o.ServerName = true, true, "test"
	o.JetStreamMaxStore, o.JetStreamMaxMemory = 1<<30, 1<<28
	s, err := natsserver.NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func (b *testBus) create(tb testing.TB, js jetstream.JetStream, name string) {
	tb.Helper()
	kind, id, _ := strings.Cut(name, " ")
	var err error
	if stream, consumer, ok := strings.Cut(id, "/"); kind == "consumer" && ok {
		_, err = js.CreateConsumer(tb.Context(), stream, jetstream.ConsumerConfig{Durable: consumer, AckPolicy: jetstream.AckExplicitPolicy})
	} else {
		_, err = js.CreateStream(tb.Context(), jetstream.StreamConfig{Name: id, Subjects: []string{"events." + id + ".>"}, MaxBytes: 1 << 20})
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func (b *testBus) js(tb testing.TB) jetstream.JetStream {
	tb.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(b.NATS()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

// open is a monitor on a port of its own, closed when the test ends.
func open(tb testing.TB, b Bus, o Options) *Monitor {
	tb.Helper()
	m, err := Open("127.0.0.1:0", b, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	return m
}

// reply is an answer read to its end.
type reply struct {
	code   int
	header http.Header
	body   string
}

// client keeps no connections, which would be goroutines left over.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       20 * time.Second,
}

func do(tb testing.TB, method, url string) reply {
	tb.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func get(tb testing.TB, url string) reply { tb.Helper(); return do(tb, http.MethodGet, url) }

func (r reply) mustBe(tb testing.TB, code int, contains ...string) {
	tb.Helper()
	if r.code != code {
		tb.Errorf("status %d, want %d: %.300s", r.code, code, r.body)
	}
	for _, c := range contains {
		if !strings.Contains(r.body, c) {
			tb.Errorf("%q is not in: %.500s", c, r.body)
		}
	}
}

// waitFor asks until the condition holds.
func waitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal(fmt.Sprint("never: ", what))
		}
	}
}

func servingState() server.State { return server.State{Phase: server.Serving, Since: time.Now()} }
