package event_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
)

func TestCloseDrains(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	p := publisher(t, bus.Conn())
	var futures []*event.Future
	for n := range 1000 {
		f, err := p.PublishAsync(t.Context(), created, numbered(n))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	for range 2 {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, f := range futures {
		select {
		case <-f.Done():
			if _, err := f.Ack(); err != nil {
				t.Error(err)
			}
		default:
			t.Fatal("no result")
		}
	}
	if _, err := p.Publish(t.Context(), created, numbered(0)); !errors.Is(err, event.ErrClosed) {
		t.Error(err)
	}
	if _, err := p.PublishAsync(t.Context(), created, numbered(0)); !errors.Is(err, event.ErrClosed) {
		t.Error(err)
	}
	if n := len(bus.Events("TRANSACTIONS")); n != 1000 {
		t.Error(n)
	}
}

// What Close does not wait for has a result all the same, and it says whether the event was sent.
func TestCloseGivesUp(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTCP())
	way, p := behind(t, bus)
	way.silence()
	sent, err := p.PublishAsync(t.Context(), created, numbered(0))
	if err != nil {
		t.Fatal(err)
	}
	way.stop()
	noticed(t, p)
	unsent, err := p.PublishAsync(t.Context(), created, numbered(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) || err.Error() != "publisher: closed with 2 events without a result: context canceled" {
		t.Error(err)
	}
	for f, uncertain := range map[*event.Future]bool{sent: true, unsent: false} {
		if _, err := f.Ack(); !errors.Is(err, event.ErrClosed) || errors.Is(err, event.ErrUncertain) != uncertain {
			t.Error(err)
		}
	}
}

// What was not sent is taken back, and what was has its answer; who wants to know is told of the connection.
func TestStop(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(takesBatches), bustest.WithTCP())
	told := make(chan error, 10)
	way, p := behind(t, bus, event.OnConnection(func(why error) { told <- why }))
	way.silence()
	var futures []*event.Future
	publish := func(from int) {
		for n := range 5 {
			f, err := p.PublishAsync(t.Context(), created, numbered(from+n))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
		}
	}
	publish(1)
	bus.Await("TRANSACTIONS", func(e bustest.Event) bool { return strings.Contains(string(e.Data), `"n":1}`) })
	way.no.Store(true)
	way.cut()
	if why := <-told; why == nil {
		t.Error("no reason")
	}
	publish(6)
	p.Stop()
	if _, err := p.PublishAsync(t.Context(), created, numbered(0)); !errors.Is(err, event.ErrClosed) {
		t.Error(err)
	}
	way.no.Store(false)
	if why := <-told; why != nil {
		t.Error(why)
	}
	for n, f := range futures {
		ack, err := f.Ack()
		if n < 5 && (err != nil || ack.Sequence != uint64(n+1)) || n >= 5 && (!errors.Is(err, event.ErrClosed) || errors.Is(err, event.ErrUncertain)) {
			t.Error(n, ack, err)
		}
	}
	if got := stored(t, bus, "TRANSACTIONS"); len(got) != 5 {
		t.Error(got)
	}
}

// Close gives results to what it does not wait for before it has ended a dial to a server that does not answer. It had them
// wait for that, and with them whoever was interrupted.
func TestCloseWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTCP())
	way := newProxy(t, bus.URL())
	dialling, release := make(chan struct{}), make(chan struct{})
	first := true
	nc, err := nats.Connect(way.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Opts.CustomDialer = dialer(func() (net.Conn, error) {
		if first {
			first = false
			return net.Dial("tcp", nc.ConnectedAddr())
		}
		close(dialling)
		<-release
		return nil, net.ErrClosed
	})
	p := publisher(t, nc)
	way.cut()
	<-dialling
	f, err := p.PublishAsync(t.Context(), created, numbered(0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan error)
	go func() { closed <- p.Close(ctx) }()
	if _, err := f.Ack(); !errors.Is(err, event.ErrClosed) {
		t.Error(err)
	}
	close(release)
	if err := <-closed; err == nil {
		t.Error("nothing was left")
	}
}

type dialer func() (net.Conn, error)

func (d dialer) Dial(string, string) (net.Conn, error) { return d() }

// Beyond what may wait, publishing waits.
func TestMaxPending(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTCP())
	way := newProxy(t, bus.URL())
	nc, err := nats.Connect(way.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p := publisher(t, nc, event.MaxPending(5000)) // with 1 KB and some 200 bytes for each: four
	way.silence()
	var futures []*event.Future
	for n := range 4 {
		f, err := p.PublishAsync(t.Context(), created, numbered(n))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.PublishAsync(ctx, created, numbered(5)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, event.ErrUncertain) {
		t.Error(err)
	}
	way.cut()
	for n := range 100 { // as answers come
		f, err := p.PublishAsync(t.Context(), created, numbered(n))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		if _, err := f.Ack(); err != nil {
			t.Error(err)
		}
	}
}

// A domain of which two streams have a part: batches that would go to both are not stored, and soon none are made.
func TestTwoStreamsShareADomain(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(`
[bus]
default_streams = false
[[streams]]
name = "BOOKED"
subjects = ["events.payments.booked"]
allow_atomic = true
[[streams]]
name = "REST"
subjects = ["events.payments.created", "events.payments.*.>"]
allow_atomic = true
`))
	p := publisher(t, bus.Conn())
	for round := range 3 {
		var futures []*event.Future
		for n := range 200 {
			f, err := p.PublishAsync(t.Context(), "events.payments."+[]string{"booked", "created"}[n%2], numbered(n))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
		}
		for n, f := range futures {
			want := event.Ack{Stream: []string{"BOOKED", "REST"}[n%2], Sequence: uint64(100*round + n/2 + 1)}
			if ack, err := f.Ack(); ack != want || err != nil {
				t.Fatal(n, ack, err)
			}
		}
	}
	if n := event.Lanes(p); n != 2 {
		t.Errorf("%d lanes, not one for each subject", n)
	}
	for _, s := range []string{"BOOKED", "REST"} {
		batched := 0
		for i, m := range bus.Events(s) {
			if e, err := event.Decode(m.Data); err != nil || string(e.Data) != fmt.Sprintf(`{"n":%d}`, i%100*2+map[string]int{"REST": 1}[s]) {
				t.Fatal(m, err)
			}
			if m.Header.Get("Nats-Batch-Id") != "" {
				batched++
			}
		}
		if batched == 0 {
			t.Errorf("%s: no batches", s)
		}
	}
}

// A server that takes only small batches, or few at a time.
func TestBatchLimits(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]string{"small": "max_msgs = 10", "few": "max_inflight_per_stream = 1", "none": "max_inflight_total = 1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := bustest.Run(t, bustest.WithTOML(takesBatches+"[nats.jetstream.limits.batch]\n"+limits))
			for range 3 {
				p := publisher(t, bus.Conn())
				var futures []*event.Future
				for n := range 1000 {
					f, err := p.PublishAsync(t.Context(), created, numbered(n))
					if err != nil {
						t.Fatal(err)
					}
					futures = append(futures, f)
				}
				defer func() {
					for _, f := range futures {
						if _, err := f.Ack(); err != nil {
							t.Error(err)
						}
					}
				}()
			}
		})
	}
}

// More than the server takes in a batch, as any nats-server does that was not told otherwise: all of it goes in smaller ones,
// and nothing alone.
func TestTooManyForABatch(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(takesBatches+"[nats.jetstream.limits.batch]\nmax_msgs = 1000"), bustest.WithTCP())
	way, p := behind(t, bus)
	way.no.Store(true)
	way.cut()
	noticed(t, p)
	var futures []*event.Future
	for n := range 3500 {
		f, err := p.PublishAsync(t.Context(), created, numbered(n))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	way.no.Store(false)
	for n, f := range futures {
		if ack, err := f.Ack(); err != nil || ack.Sequence != uint64(n+1) {
			t.Fatal(n, ack, err)
		}
	}
	most := 0
	for _, m := range bus.Events("TRANSACTIONS") {
		n, err := strconv.Atoi(m.Header.Get("Nats-Batch-Sequence"))
		if err != nil {
			t.Fatal("went alone: ", m)
		}
		most = max(most, n)
	}
	if most != 1000 {
		t.Errorf("the largest batch had %d", most)
	}
}

// What belongs to the next batch is sent behind the commit of the one before: the server would take it first, and let those
// wait who wait for that commit. It was two thirds of what could be stored.
func TestNothingGoesBeforeACommit(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(takesBatches), bustest.WithTCP())
	sub, err := bus.Conn().SubscribeSync("events.transactions.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(bus.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p := publisher(t, nc)
	const events = 20_000
	futures := make([]*event.Future, 0, events)
	for n := range events {
		f, err := p.PublishAsync(t.Context(), created, numbered(n))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	batches, open := 0, ""
	for n := range events {
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(n, err)
		}
		id, committed := m.Header.Get("Nats-Batch-Id"), m.Header.Get("Nats-Batch-Commit") != ""
		if open != "" && id != open {
			t.Fatalf("%d is of %q, and %s is not committed", n, id, open)
		}
		if open = id; committed {
			open = ""
			batches++
		}
	}
	for _, f := range futures {
		if _, err := f.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if batches < 5 {
		t.Errorf("%d batches", batches)
	}
}

// Whoever is told that the connection is lost may give up there and then.
func TestCloseWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTCP())
	nc, err := nats.Connect(bus.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	closed := make(chan error, 1)
	var p *event.Publisher
	ready := make(chan struct{})
	p, err = event.NewPublisher(nc, event.OnConnection(func(err error) {
		<-ready
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		closed <- p.Close(ctx)
	}))
	if err != nil {
		t.Fatal(err)
	}
	close(ready)
	bus.Disconnect()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it is not closed")
	}
}

// A connection that breaks for what is sent, which is then sent again, is not made anew without a pause.
func TestNoStormOfConnections(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML("[nats]\nmax_control_line = \"1KB\""), bustest.WithTCP())
	nc, err := nats.Connect(bus.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var lost atomic.Int64
	p := publisher(t, nc, event.OnConnection(func(err error) {
		if err != nil {
			lost.Add(1)
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := p.Publish(ctx, created+strings.Repeat(".a", 600), numbered(1)); !errors.Is(err, event.ErrUncertain) {
		t.Error(err)
	}
	if n := lost.Load(); n < 1 || n > 8 { // after 10, 20, 40 … ms
		t.Errorf("%d connections were lost in half a second", n)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_ = p.Close(ctx)
}
