// Package bustest is a real bus for a unit test, in the test's own process: nats-server with JetStream, the declared
// streams and consumers standing, storage in memory, no port. It is ready in milliseconds, and parallel tests each
// have their own.
//
//	func TestRefund(t *testing.T) {
//		bus := bustest.Run(t)
//		go engine.Run(t.Context(), bus.Conn()) // what is tested
//		bus.Publish("events.transactions.refunded", `{"id": 7}`)
//		bus.Await("events.notifications.email.*", func(e bustest.Event) bool { return bytes.Contains(e.Data, []byte("7")) })
//	}
//
// What fails, fails the test with t.Fatal and with what did happen instead; so, as with t.Fatal itself, the methods are
// for the test's own goroutine. Where there is no test, in TestMain and in examples, Start takes the place of Run.
//
// # Time
//
// nats-server goes by the machine's clock, and a test cannot turn that. What can be done instead:
//
//   - ack_wait, backoff and the delay of a nak: Consumer.PassAckWait lets them pass, at once.
//   - max_age: Bus.PassMaxAge lets it pass, in some 0.1 to 0.4 s, because JetStream knows no shorter one.
//   - duplicate_window, inactive_threshold, a message's own TTL, pause_until, a pull's expiry: declare or ask for a short
//     one, and wait for what it brings with Await. JetStream takes no duplicate_window and max_age below 100 ms, no TTL
//     below 1 s, any ack_wait, inactive_threshold and pause.
//   - testing/synctest does not help: nats.go keeps its timers in a pool, and one that goes from a bubble to another test
//     ends the process.
package bustest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bus is one bus. Its methods are safe for use by several goroutines at a time, except those that end or replace it
// (Restart, Crash, Close).
type Bus struct {
	*core
	tb testing.TB // nil: what fails panics
}

// Run starts a bus that is closed at the end of the test or benchmark; the bus's own log is shown if that failed. A
// declaration that is wrong fails the test.
func Run(tb testing.TB, opts ...Option) *Bus {
	tb.Helper()
	b := &Bus{core: newCore(), tb: tb}
	tb.Cleanup(func() {
		if err := b.close(); err != nil {
			tb.Errorf("bustest: close: %v", err)
		}
		if log := b.log.String(); log != "" && tb.Failed() {
			tb.Logf("bustest: the log of the bus:\n%s", log)
		}
	})
	if err := b.begin(opts); err != nil {
		b.fatalf("%v", err)
	}
	return b
}

// Start is Run without a test: for TestMain, whose tests share a bus by For, and for examples. What fails later panics.
// Close it.
func Start(opts ...Option) (*Bus, error) {
	b := &Bus{core: newCore()}
	if err := b.begin(opts); err != nil {
		return nil, errors.Join(fmt.Errorf("bustest: %w", err), b.close())
	}
	return b, nil
}

// For is the same bus in the hands of another test: what fails, fails that one. It is closed by who started it.
func (b *Bus) For(tb testing.TB) *Bus { return &Bus{core: b.core, tb: tb} }

// Close ends the bus and removes its folder; more than once is fine. Run does it by itself.
//  1. its connections: Conn and those of Connect
//  2. the clients that are still there: nobody waits for them
//  3. the bus
//  4. its folder
func (b *Bus) Close() error { return b.close() }

// Conn is a connection with the rights of the bus itself, the same at every call. Like those of Connect it is closed
// with the bus, and after Disconnect, Restart and Crash it is back within milliseconds by itself.
func (b *Bus) Conn() *nats.Conn {
	b.helper()()
	nc, err := b.shared()
	if err != nil {
		b.fatalf("Conn: %v", err)
	}
	return nc
}

// JetStream is JetStream's API over Conn.
func (b *Bus) JetStream() jetstream.JetStream {
	b.helper()()
	js, err := jetstream.New(b.Conn())
	if err != nil {
		b.fatalf("JetStream: %v", err)
	}
	return js
}

// Connect returns another connection in the process, for a client of its own. Options that log in, such as
// nats.UserInfo, take the place of the bus's own rights.
func (b *Bus) Connect(opts ...nats.Option) *nats.Conn {
	b.helper()()
	nc, err := b.connect(opts...)
	if err != nil {
		b.fatalf("Connect: %v", err)
	}
	return nc
}

// URL is where clients outside of this process connect, nats://127.0.0.1:PORT; the bus has to be started WithTCP. It
// stays the same over Restart and Crash.
func (b *Bus) URL() string {
	b.helper()()
	url := b.server().ClientURL()
	if url == "" {
		b.fatalf("URL: the bus has no port; start it with bustest.WithTCP(), or use Conn")
	}
	return url
}

// helper is tb.Helper where there is a test.
func (b *Bus) helper() func() {
	if b.tb == nil {
		return func() {}
	}
	return b.tb.Helper
}

func (b *Bus) fatalf(format string, args ...any) {
	if b.tb == nil {
		panic("bustest: " + fmt.Sprintf(format, args...))
	}
	b.tb.Helper()
	b.tb.Fatalf("bustest: "+format, args...)
}
