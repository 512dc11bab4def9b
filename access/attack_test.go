package access_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// byHand is a user in the account of the streams with the rights that a consumer and a publisher need there: how
// permissions are usually written. It shows that the attacks work where services have no account of their own.
const byHand = `
[nats.authorization]
users = [{ user = "by-hand", password = "env:MATRIX_PASSWORD", permissions = { subscribe = ["_INBOX.>"], publish = [
  "events.transactions.>", "$JS.API.CONSUMER.MSG.NEXT.NOTIFICATIONS.notification-engine-consumer", "$JS.API.CONSUMER.INFO.NOTIFICATIONS.notification-engine-consumer"] } }]
`

// NATS checks no reply subject. Whoever asks for a message, or publishes, and names a subject of another stream as the
// place for the answer, has it stored there: with a user in the account of the streams it happens, with a service not, not
// even where it may publish.
func TestReplySubjects(t *testing.T) {
	t.Parallel()
	b := start(t, declaration+byHand)
	b.fill(t)
	for _, s := range b.cfg.Services {
		if s.Role.Inside() {
			continue // docs/security.md says so
		}
		nc := b.connect(t, s.Name)
		for _, g := range b.cfg.Grants() {
			if g.Service != s.Name {
				continue
			}
			for _, r := range g.Publish {
				subject := strings.NewReplacer("*", "NOTIFICATIONS", ">", "x").Replace(r.Subject)
				for _, domain := range append(domains(b.cfg), "audit.bus") {
					reply := "events." + domain + ".forged"
					if err := nc.PublishRequest(subject, reply, []byte(`{"batch":1,"no_wait":true}`)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	// The same by hand, through the same consumer and stream, and later.
	nc := b.connect(t, "by-hand")
	for subject, body := range map[string]string{
		"events.transactions.created":                                          "{}",
		"$JS.API.CONSUMER.INFO.NOTIFICATIONS.notification-engine-consumer":     "",
		"$JS.API.CONSUMER.MSG.NEXT.NOTIFICATIONS.notification-engine-consumer": `{"batch":1,"no_wait":true}`,
	} {
		if err := nc.PublishRequest(subject, "events.audit.forged", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	const byHand = 3
	await(t, "what was forged by hand", func() bool { return b.forged(t, "AUDIT") >= byHand })
	for _, st := range b.cfg.Streams {
		want := 0
		if st.Name == "AUDIT" {
			want = byHand
		}
		if n := b.forged(t, st.Name); n != want {
			t.Errorf("%s holds %d forged messages, of which %d by hand", st.Name, n, want)
		}
	}
}

// domains are the second tokens of the streams' subjects.
func domains(c *config.Config) (out []string) {
	for _, s := range c.Streams {
		out = append(out, strings.ToLower(s.Name))
	}
	return out
}

// forged counts the messages of a stream that only an answer can have become: an answer has the subject where it was sent,
// but for a message of a consumer, which has its own.
func (b *bus) forged(t *testing.T, stream string) (n int) {
	t.Helper()
	s, err := b.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	for subject, count := range info.State.Subjects {
		if strings.HasSuffix(subject, ".forged") || !strings.HasPrefix(subject, "events."+strings.ToLower(stream)+".") {
			n += int(count)
		}
	}
	return n
}

// await waits for a condition; only a failure takes long.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for giveUp := time.After(10 * time.Second); !is(); {
		select {
		case <-tick.C:
		case <-giveUp:
			t.Fatalf("waiting for %s: it did not come", what)
		}
	}
}

// What was delivered to one service, no other acknowledges.
func TestAcknowledgingForAnother(t *testing.T) {
	t.Parallel()
	b := start(t, declaration)
	b.fill(t)
	engine := b.connect(t, "notification-engine")
	con := consumer(t, engine, "NOTIFICATIONS", "notification-engine-consumer")
	m, err := con.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	pending := func() int {
		info, err := con.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.NumAckPending
	}
	for _, s := range b.cfg.Services {
		if s.Role.Inside() || s.Name == "notification-engine" {
			continue
		}
		nc := b.connect(t, s.Name)
		for _, word := range []string{"+ACK", "+TERM", "-NAK"} {
			if refused, _ := try(t, nc, attempt{subject: m.Reply(), body: word}); !refused {
				t.Errorf("%s acknowledges for notification-engine with %s", s.Name, word)
			}
		}
	}
	if n := pending(); n != 1 {
		t.Errorf("%d pending, want the one", n)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Error(err)
	}
	if n := pending(); n != 0 {
		t.Errorf("%d pending after its own acknowledgement", n)
	}
}

func consumer(t *testing.T, nc *nats.Conn, stream, name string) jetstream.Consumer {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.Consumer(t.Context(), stream, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An inbox is heard by the connections of its own service and by nobody else, whatever they subscribe to.
func TestInboxes(t *testing.T) {
	t.Parallel()
	b := start(t, declaration)
	b.fill(t)
	listen := func(user string) *nats.Subscription {
		nc := b.connect(t, user)
		sub, err := nc.SubscribeSync("_INBOX.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		return sub
	}
	others := map[string]*nats.Subscription{}
	for _, s := range b.cfg.Services {
		if s.Name != "notification-engine" {
			others[s.Name] = listen(s.Name)
		}
	}
	same := listen("notification-engine")
	engine := b.connect(t, "notification-engine")
	m, err := consumer(t, engine, "NOTIFICATIONS", "notification-engine-consumer").Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := same.NextMsg(5 * time.Second); err != nil { // by now it has been delivered wherever it goes
		t.Errorf("a second connection of the service: %v", err)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, sub := range others {
		if m, err := sub.NextMsg(time.Millisecond); err == nil {
			t.Errorf("%s hears %s: %.60q", name, m.Subject, m.Data)
		}
	}
}

// Headers that have nats-server send something somewhere do not get it past the account either.
func TestHeaders(t *testing.T) {
	t.Parallel()
	b := start(t, declaration)
	for _, publisher := range []struct{ service, below, dest string }{
		{"token-engine", "events.transactions.", "events.audit.forged"}, {"ledger", "events.settlement.", "events.audit.bus.forged"},
	} {
		nc := b.connect(t, publisher.service)
		for i, h := range []nats.Header{
			{"Nats-Trace-Dest": {publisher.dest}},
			{"Nats-Trace-Dest": {publisher.dest}, "Nats-Trace-Only": {"true"}},
			{"Nats-Request-Info": {`{"acc":"$G","svc":"$G"}`}},
			{"Nats-Rollup": {"all"}},
			{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {publisher.dest}},
		} {
			m := &nats.Msg{Subject: fmt.Sprintf("%sh%d", publisher.below, i), Header: h, Data: []byte("{}")}
			if err := nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), publisher.below+"last", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range b.cfg.Streams {
		if n := b.forged(t, s.Name); n > 0 {
			t.Errorf("%s holds %d forged messages", s.Name, n)
		}
	}
	s, err := b.js.Stream(t.Context(), "TRANSACTIONS")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		if m, err := s.GetMsg(t.Context(), seq); err == nil && m.Header.Get("Nats-Request-Info") != "" {
			t.Errorf("%s is stored with %v", m.Subject, m.Header)
		}
	}
}

// What a message without body and headers does to the rest of a pull request, which nats-server takes for the end of the
// answer: the rest comes again after ack_wait. docs/security.md says so; when this fails, it may be said no longer.
func TestEmptyMessageEndsAPull(t *testing.T) {
	t.Parallel()
	b := start(t, declaration, `
[[streams]]
name = "NOTIFICATIONS"
[[streams.consumers]]
name = "notification-engine-consumer"
ack_wait = "200ms"
`)
	for _, body := range []string{"first", "", "second"} {
		if _, err := b.js.Publish(t.Context(), "events.notifications.sent", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	con := consumer(t, b.connect(t, "notification-engine"), "NOTIFICATIONS", "notification-engine-consumer")
	var got []string
	fetch := func(n int) {
		batch, err := con.Fetch(n, jetstream.FetchMaxWait(300*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
			got = append(got, string(m.Data()))
		}
	}
	fetch(3)
	if len(got) != 2 {
		t.Errorf("the pull brought %q; nats-server has changed", got)
	}
	await(t, "the rest", func() bool { fetch(1); return len(got) == 3 })
	if got[2] != "second" {
		t.Errorf("got %q", got)
	}
}
