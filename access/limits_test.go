package access_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The limits of a service are its own: one that takes all of its connections leaves the others theirs.
func TestLimits(t *testing.T) {
	t.Parallel()
	b := start(t, declaration+`
[[services]]
name = "greedy"
password = "env:MATRIX_PASSWORD"
publishes = ["events.clearing.>"]
max_connections = 2
max_subscriptions = 3
max_payload = "1KB"
`)
	first := b.connect(t, "greedy")
	b.connect(t, "greedy")
	if _, err := nats.Connect(b.ClientURL(), nats.UserInfo("greedy", password)); !errors.Is(err, nats.ErrMaxAccountConnectionsExceeded) {
		t.Errorf("a third connection of two: %v", err)
	}
	b.connect(t, "token-engine")
	for range 4 {
		if _, err := first.SubscribeSync(nats.NewInbox()); err != nil {
			t.Fatal(err)
		}
	}
	_ = first.Flush()
	if err := first.LastError(); !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		t.Errorf("a fourth subscription of three: %v", err)
	}
	if err := first.Publish("events.clearing.window.opened", make([]byte, 2<<10)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("2KB of one: %v", err)
	}
	if l := b.cfg.LimitsOf(b.cfg.Services[len(b.cfg.Services)-1]); l.Connections != 2 || l.Subscriptions != 3 || l.Payload != 1<<10 || l.Pending != 64<<20 {
		t.Errorf("%+v", l)
	}
}

// raw is a connection without a client library, which does only what it is told.
func (b *bus) raw(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.NATS().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, bufio.NewReader(c)
}

// say logs in as a service, and says something.
func say(t *testing.T, c net.Conn, r *bufio.Reader, user, what string) {
	t.Helper()
	if _, err := r.ReadString('\n'); err != nil { // INFO
		t.Fatal(err)
	}
	login, err := json.Marshal(map[string]any{"user": user, "pass": password, "verbose": false, "headers": true, "no_responders": true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "CONNECT %s\r\n%s", login, what); err != nil {
		t.Fatal(err)
	}
}

// Who says nothing is sent away after the time to log in.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	b := start(t, declaration+"[nats.authorization]\ntimeout = 0.2\n")
	for range 50 {
		b.raw(t)
	}
	working := b.connect(t, "token-engine")
	await(t, "the silent ones to be gone", func() bool { return closed(t, b, "Authentication Timeout") == 50 })
	if err := working.Flush(); err != nil {
		t.Error(err)
	}
}

// closed counts the connections that NATS has closed for that reason.
func closed(t *testing.T, b *bus, reason string) (n int) {
	t.Helper()
	z, err := b.NATS().Connz(&natsserver.ConnzOptions{State: natsserver.ConnClosed, Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range z.Conns {
		if strings.HasPrefix(c.Reason, reason) {
			n++
		}
	}
	return n
}

// Who asks for messages and does not read them is cut off when max_pending waits for it; the others go on.
func TestNeverReading(t *testing.T) {
	t.Parallel()
	b := start(t, declaration, `
[nats]
max_pending = "8MB"
write_deadline = "500ms"
[[streams]]
name = "NOTIFICATIONS"
[[streams.consumers]]
name = "notification-engine-consumer"
max_deliver = -1
ack_wait = "100ms"
`)
	for range 30 {
		if _, err := b.js.Publish(t.Context(), "events.notifications.sent", make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	const n = 10
	for range n {
		c, r := b.raw(t)
		ask := `{"batch":1000}`
		say(t, c, r, "notification-engine", fmt.Sprintf("SUB _INBOX.x 1\r\nPUB $JS.API.CONSUMER.MSG.NEXT.NOTIFICATIONS.notification-engine-consumer _INBOX.x %d\r\n%s\r\n", len(ask), ask))
	}
	most := int64(0)
	await(t, "those who never read to be gone", func() bool {
		z, err := b.NATS().Connz(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range z.Conns {
			most = max(most, int64(c.Pending))
		}
		return closed(t, b, "Slow Consumer") == n
	})
	if most > 9<<20 {
		t.Errorf("%d bytes waited for one client", most)
	}
	con := consumer(t, b.connect(t, "notification-engine"), "NOTIFICATIONS", "notification-engine-consumer")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 30 {
		m, err := con.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
