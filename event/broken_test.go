package event_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Connections break again and again, and the bus itself stops and crashes; what one goroutine publishes is stored once,
// all of it, and in its order.
func TestOrderOverBrokenConnections(t *testing.T) {
	t.Parallel()
	for _, batches := range []bool{true, false} {
		for name, breakIt := range map[string]func(*bustest.Bus){
			"disconnect": func(b *bustest.Bus) { b.Disconnect() },
			"restart":    (*bustest.Bus).Restart,
			"crash":      (*bustest.Bus).Crash,
		} {
			t.Run(fmt.Sprint(name, batches), func(t *testing.T) {
				t.Parallel()
				bus := bustest.Run(t, bustest.WithTOML(takesBatches), bustest.WithFiles(), bustest.WithTCP())
				nc, err := nats.Connect(bus.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond))
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				p := publisher(t, nc)
				if !batches {
					event.Single(p)
				}
				const events, breaks = 3000, 6
				var at [events]uint64
				reached := make(chan int, events)
				var wg sync.WaitGroup
				wg.Go(func() {
					window := make(chan func(), 200)
					wg.Go(func() {
						for wait := range window {
							wait()
						}
					})
					defer close(window)
					for n := range events {
						f, err := p.PublishAsync(t.Context(), created, numbered(n))
						if err != nil {
							t.Error(err)
							return
						}
						window <- func() {
							ack, err := f.Ack()
							if err != nil {
								t.Error(n, err)
							}
							at[n] = ack.Sequence
							reached <- n
						}
					}
				})
				for n := range events {
					if <-reached; n%(events/(breaks+1)) == events/(breaks+2) {
						breakIt(bus)
					}
				}
				wg.Wait()
				got := stored(t, bus, "TRANSACTIONS")
				if len(got) != events {
					t.Fatalf("%d are stored", len(got))
				}
				for n, e := range got {
					if string(e.Data) != fmt.Sprintf(`{"n":%d}`, n) || at[n] != uint64(n+1) {
						t.Fatalf("%s is at %d, and %d is said to be at %d", e.Data, n+1, n, at[n])
					}
				}
			})
		}
	}
}

// proxy stands between a client and the bus.
type proxy struct {
	url string
	l   net.Listener
	no  atomic.Bool // who comes is sent away
	mu  sync.Mutex
	in  map[net.Conn]*atomic.Bool // the clients, and who hears nothing any more
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: "nats://" + l.Addr().String(), l: l, in: map[net.Conn]*atomic.Bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", strings.TrimPrefix(to, "nats://"))
			if err != nil || p.no.Load() {
				c.Close()
				if err == nil {
					s.Close()
				}
				continue
			}
			deaf := &atomic.Bool{}
			p.mu.Lock()
			p.in[c] = deaf
			p.mu.Unlock()
			wg.Go(func() { _, _ = io.Copy(s, c); s.Close() })
			wg.Go(func() { _, _ = io.Copy(ear{c, deaf}, s); c.Close() })
		}
	})
	t.Cleanup(func() { p.stop(); wg.Wait() })
	return p
}

// ear is a client that may have become deaf.
type ear struct {
	net.Conn
	deaf *atomic.Bool
}

func (e ear) Write(b []byte) (int, error) {
	if e.deaf.Load() {
		return len(b), nil
	}
	return e.Conn.Write(b)
}

// behind is a publisher that a proxy stands before.
func behind(t *testing.T, bus *bustest.Bus, opts ...event.Option) (*proxy, *event.Publisher) {
	t.Helper()
	way := newProxy(t, bus.URL())
	nc, err := nats.Connect(way.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return way, publisher(t, nc, opts...)
}

// noticed waits until the publisher knows that its connection is broken.
func noticed(t *testing.T, p *event.Publisher) {
	t.Helper()
	select {
	case <-p.Broken():
	case <-time.After(10 * time.Second):
		t.Fatal("nobody noticed")
	}
}

// silence lets nothing through to those who are connected.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, deaf := range p.in {
		deaf.Store(true)
	}
}

// stop takes nobody any more.
func (p *proxy) stop() {
	p.l.Close()
	p.cut()
}

// cut breaks the connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.in {
		c.Close()
	}
	clear(p.in)
}

// The events are stored, and no answer comes: the connection breaks, or seems to live on. Sent again they are duplicates,
// which a batch is refused for; each is answered with where it is.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, broken := range []bool{true, false} {
		for _, batches := range []bool{true, false} {
			t.Run(fmt.Sprint(broken, batches), func(t *testing.T) {
				t.Parallel()
				bus := bustest.Run(t, bustest.WithTOML(takesBatches), bustest.WithTCP())
				var opts []event.Option
				if !broken { // somebody has to look
					opts = append(opts, event.Quiet(time.Second))
				}
				way, p := behind(t, bus, opts...)
				if !batches {
					event.Single(p)
				}
				if _, err := p.Publish(t.Context(), created, numbered(-1)); err != nil {
					t.Fatal(err)
				}
				way.silence()
				var futures []*event.Future
				for n := range 100 {
					f, err := p.PublishAsync(t.Context(), created, numbered(n))
					if err != nil {
						t.Fatal(err)
					}
					futures = append(futures, f)
				}
				bus.Await("TRANSACTIONS", func(e bustest.Event) bool { return strings.Contains(string(e.Data), `"n":`) && e.Sequence > 1 })
				if broken {
					way.cut()
				}
				for n, f := range futures {
					if ack, err := f.Ack(); err != nil || ack.Sequence != uint64(n+2) {
						t.Fatal(n, ack, err)
					}
				}
				if got := stored(t, bus, "TRANSACTIONS"); len(got) != 101 {
					t.Error(len(got))
				}
			})
		}
	}
}

// RetryFor counts until an event is sent again. It counted until the connection broke, and what came back an hour later was
// sent again to a stream that did not know the id any more.
func TestRetryForWithoutAConnection(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTCP())
	way := newProxy(t, bus.URL())
	nc, err := nats.Connect(way.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const retry = time.Second
	p := publisher(t, nc, event.RetryFor(retry), event.OnConnection(func(why error) {
		if why != nil {
			<-time.After(retry + time.Millisecond) // there is nobody to connect to
		}
	}))
	event.Single(p) // a batch would be refused because of it, as long as its id is known
	way.silence()
	sent, err := p.PublishAsync(t.Context(), created, numbered(0))
	if err != nil {
		t.Fatal(err)
	}
	bus.Await("TRANSACTIONS", func(bustest.Event) bool { return true })
	way.cut()
	<-p.Broken()
	unsent, err := p.PublishAsync(t.Context(), created, numbered(1))
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := sent.Ack(); !errors.Is(err, event.ErrUncertain) || !strings.Contains(err.Error(), "could store it twice") {
		t.Error(ack, err)
	}
	if ack, err := unsent.Ack(); err != nil || ack.Sequence != 2 {
		t.Error(ack, err)
	}
}

// The subject is somebody's who does not answer: no event is lost without a word.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(takesBatches))
	if _, err := bus.Conn().Subscribe("events.nobody.*", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	p := publisher(t, bus.Conn(), event.Quiet(100*time.Millisecond))
	for range 2 { // alone, and then two in a batch
		var futures []*event.Future
		for n := range 3 {
			f, err := p.PublishAsync(t.Context(), "events.nobody.x", numbered(n))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
		}
		for _, f := range futures {
			if _, err := f.Ack(); !errors.Is(err, event.ErrUncertain) || !strings.Contains(err.Error(), "the stream does not") {
				t.Error(err)
			}
		}
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(takesBatches), bustest.WithTCP())
	way, p := behind(t, bus)
	way.silence()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Publish(ctx, created, numbered(1)); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, event.ErrUncertain) {
		t.Errorf("sent: %v", err)
	}
	way.cut()
	if _, err := p.Publish(ctx, created, numbered(2)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, event.ErrUncertain) {
		t.Errorf("not sent: %v", err)
	}
	if ack, err := p.Publish(t.Context(), created, numbered(3)); err != nil || ack.Sequence != 2 {
		t.Error(ack, err)
	}
	if got := stored(t, bus, "TRANSACTIONS"); len(got) != 2 || string(got[0].Data) != `{"n":1}` || string(got[1].Data) != `{"n":3}` {
		t.Error(got)
	}
}

// The first attempt is stored, and nobody hears of it; the second is refused, because the stream takes the subject no more.
// That says nothing of the first.
func TestRefusedAfterALostAnswer(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(takesBatches), bustest.WithTCP())
	way, p := behind(t, bus)
	way.silence()
	f, err := p.PublishAsync(t.Context(), created, numbered(1))
	if err != nil {
		t.Fatal(err)
	}
	bus.Await("TRANSACTIONS", func(bustest.Event) bool { return true })
	st, err := bus.JetStream().Stream(t.Context(), "TRANSACTIONS")
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Subjects = []string{"events.transactions.other"}
	if _, err := bus.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	way.cut()
	if _, err := f.Ack(); !errors.Is(err, event.ErrUncertain) || !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Error(err)
	}
	if _, err := p.Publish(t.Context(), created, numbered(2)); errors.Is(err, event.ErrUncertain) || !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Error(err)
	}
}
