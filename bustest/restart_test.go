package bustest_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRestart(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithFiles(), bustest.WithTCP())
	nc, err := nats.Connect(bus.URL(), nats.ReconnectWait(time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	url, conn := bus.URL(), bus.Conn()
	bus.Publish("events.notifications.x", "acked")
	bus.Publish("events.notifications.x", "not acked")
	m := fetch(t, bus.JetStream(), "NOTIFICATIONS", engine)
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		bus.Restart()
		if !conn.IsConnected() || bus.Conn() != conn || bus.URL() != url {
			t.Error("not at the same place", bus.URL(), url)
		}
		if got := bus.Events("NOTIFICATIONS"); len(got) != 2 {
			t.Error(got)
		}
	}
	if n := bus.Consumer("NOTIFICATIONS", engine).Counts(); n != (bustest.Counts{Pending: 1, Delivered: 1, Acked: 1}) {
		t.Errorf("%+v", n)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "events.notifications.x", nil); err != nil {
		t.Errorf("a client that came by TCP: %v", err)
	}
}

// Whatever was acknowledged to a publisher is there, however many publish at that moment.
func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithFiles(), bustest.WithTCP())
	stop := make(chan struct{})
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	tcp, err := nats.Connect(bus.URL(), nats.ReconnectWait(time.Millisecond), nats.MaxReconnects(-1), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for i, nc := range []*nats.Conn{bus.Conn(), tcp} {
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := strconv.Itoa(i) + "." + strconv.Itoa(n)
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				_, err := js.Publish(ctx, "events.transactions.x", []byte(id))
				cancel()
				if err == nil {
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				}
			}
		})
	}
	for range 3 {
		mu.Lock()
		had := len(acked)
		mu.Unlock()
		bus.Crash()
		bus.Await("TRANSACTIONS", func(bustest.Event) bool { mu.Lock(); defer mu.Unlock(); return len(acked) > had })
	}
	close(stop)
	wg.Wait()
	there := map[string]bool{}
	for _, e := range bus.Events("TRANSACTIONS") {
		there[string(e.Data)] = true
	}
	for id := range acked {
		if !there[id] {
			t.Errorf("%s was acknowledged and is not there", id)
		}
	}
}

// Acks of the last moment are lost in a crash: the message comes again, and is counted again.
func TestCrashForgetsAcks(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithFiles())
	c := bus.Consumer("NOTIFICATIONS", engine)
	bus.Publish("events.notifications.x", nil)
	if err := fetch(t, bus.JetStream(), "NOTIFICATIONS", engine).DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	bus.Crash()
	if n := c.Counts(); n.Acked != 1 || n.Delivered != 1 {
		t.Errorf("%+v", n)
	}
	if c.Counts().Pending == 0 { // it has got to the disk after all
		return
	}
	if err := fetch(t, bus.JetStream(), "NOTIFICATIONS", engine).DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := c.AwaitIdle(); n != (bustest.Counts{Delivered: 2, Redelivered: 1, Acked: 1}) {
		t.Errorf("%+v", n)
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTCP())
	dropped, back := make(chan struct{}, 8), make(chan struct{}, 8)
	opts := []nats.Option{nats.ReconnectWait(time.Millisecond),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { dropped <- struct{}{} }),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} })}
	tcp, err := nats.Connect(bus.URL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	inProcess := bus.Connect(opts...)
	other := bus.Conn()
	for range 3 {
		bus.Disconnect(tcp, inProcess)
		for range 2 {
			<-dropped
			<-back
		}
	}
	if n := other.Stats().Reconnects; n != 0 {
		t.Errorf("the other was dropped %d times", n)
	}
	bus.Disconnect()
	for range 2 {
		<-dropped
		<-back
	}
	bus.Publish("events.risk.x", nil)
}
