package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A message that is terminated, and one that is delivered for the last time, become letters with everything they had.
func TestLetterHasTheMessage(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	collect(t, bus, deadletter.Options{MaxAge: time.Hour, MaxBytes: 1 << 20})
	e, err := event.New("refund.asked", "token-engine", []byte(`{"amount": 1000.00, "name": "A. Person"}`))
	if err != nil {
		t.Fatal(err)
	}
	e.Metadata.CorrelationID = event.NewID()
	payload, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m := &nats.Msg{Subject: "events.payments.refund.asked", Data: payload, Header: nats.Header{
		nats.MsgIdHdr: {e.ID}, "X-Trace": {"a", "b"}, "Deltran-Redriven-From": {"X/y/1"}, "Status": {"404"},
	}}
	refuse(t, bus, m, "no such account")
	refuse(t, bus, &nats.Msg{Subject: "events.payments.raw", Data: []byte{0xff, 0, '\n'}}, "")
	all := letters(t, bus, 2)
	l := all[0]
	if !reflect.DeepEqual(l.Header, m.Header) || string(l.Data) != string(payload) || l.Subject != m.Subject {
		t.Errorf("%+v", l)
	}
	if l.ID != (deadletter.ID{Stream: "PAYMENTS", Consumer: "ledger", Sequence: 1}) || l.Cause != deadletter.Terminated || l.Reason != "no such account" ||
		l.Deliveries != 1 || l.Missing != "" || !l.Time.Before(l.GivenUp) || !l.GivenUp.Before(l.Stored) {
		t.Errorf("%+v", l)
	}
	if l := all[1]; string(l.Data) != "\xff\x00\n" || len(l.Header) > 0 {
		t.Errorf("%+v", l)
	}
	settled(t, bus)
	got := records(t, bus, "stored")
	if len(got) != 2 {
		t.Fatal(got)
	}
	for k, want := range map[string]any{
		"letter": "PAYMENTS/ledger/1", "number": 1., "subject": m.Subject, "msg_id": e.ID, "cause": "terminated", "correlation_id": e.Metadata.CorrelationID,
	} {
		if got[0][k] != want {
			t.Errorf("%s: %v, not %v", k, got[0][k], want)
		}
	}
	for _, m := range stored(t, bus, deadletter.Audit, "events.>") {
		if strings.Contains(string(m.Data), "Person") {
			t.Errorf("what cannot be deleted has the payload: %s", m.Data)
		}
	}
	st, err := bus.JetStream().Stream(t.Context(), deadletter.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if cfg := st.CachedInfo().Config; cfg.MaxAge != time.Hour || cfg.MaxBytes != 1<<20 || cfg.Discard != jetstream.DiscardNew || cfg.DenyDelete || cfg.DenyPurge || cfg.Storage != jetstream.MemoryStorage {
		t.Errorf("%+v", cfg)
	}
}

// After max_deliver deliveries nobody has to be there: neither the collector, nor a listener.
func TestGivenUpBeforeAnybodyCollects(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(strings.Replace(payments, `"30s"`, `"50ms"`, 1)))
	for range 3 {
		bus.Publish("events.payments.made", `{}`)
	}
	fetch(t, bus, 3)
	bus.Consumer("PAYMENTS", "ledger").Await(func(n bustest.Counts) bool { return n.GivenUp == 3 })
	c, _ := collect(t, bus, deadletter.Options{})
	for i, l := range letters(t, bus, 3) {
		if l.Cause != deadletter.MaxDeliver || l.Deliveries == 0 || len(l.Data) == 0 {
			t.Errorf("%d: %+v", i, l)
		}
	}
	await(t, func() error {
		if s := c.Status(); s.Waiting > 0 || s.Failing != "" {
			return errors.New("still waiting")
		}
		return nil
	})
}

// What is gone when the advisory is worked off is a letter that says so.
func TestMessageGone(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	js := bus.JetStream()
	refuse(t, bus, nats.NewMsg("events.payments.a"), "")
	captured(t, bus, 1)
	st, err := js.Stream(t.Context(), "PAYMENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.DeleteMsg(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	_, stop := collect(t, bus, deadletter.Options{})
	l := letters(t, bus, 1)[0]
	if !strings.Contains(l.Missing, "gone from stream PAYMENTS") || l.Subject != "" || len(l.Data) > 0 {
		t.Errorf("%+v", l)
	}
	settled(t, bus)
	stop()

	// A stream of the same name has other messages under the same sequences.
	refuse(t, bus, nats.NewMsg("events.payments.b"), "")
	captured(t, bus, 2)
	cfg := st.CachedInfo().Config
	if err := js.DeleteStream(t.Context(), "PAYMENTS"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	bus.Publish("events.payments.c", "{}")
	bus.Publish("events.payments.d", "{}")
	collect(t, bus, deadletter.Options{})
	if l := letters(t, bus, 2)[1]; l.Sequence != 2 || !strings.Contains(l.Missing, "made anew since") || len(l.Data) > 0 {
		t.Errorf("%+v", l)
	}
}

// A stream that was made anew numbers its messages as before: neither's letter takes the other's place.
func TestSameSequenceOfAnotherStream(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	js := bus.JetStream()
	collect(t, bus, deadletter.Options{})
	st, err := js.Stream(t.Context(), "PAYMENTS")
	if err != nil {
		t.Fatal(err)
	}
	con, err := st.Consumer(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		refuse(t, bus, &nats.Msg{Subject: "events.payments.a", Data: []byte{'0' + byte(i)}}, "")
		if l := letters(t, bus, i+1)[i]; l.Sequence != 1 || string(l.Data) != string('0'+byte(i)) {
			t.Errorf("%+v", l)
		}
		if err := js.DeleteStream(t.Context(), "PAYMENTS"); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), st.CachedInfo().Config); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateConsumer(t.Context(), "PAYMENTS", con.CachedInfo().Config); err != nil {
			t.Fatal(err)
		}
	}
}

// A crash forgets acknowledgements: what has its record, and what has its letter, is not made a second time, however long
// ago that was and whatever became of the letter.
func TestNothingTwice(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	js := bus.JetStream()
	_, stop := collect(t, bus, deadletter.Options{})
	for range 4 {
		refuse(t, bus, nats.NewMsg("events.payments.a"), "")
	}
	letters(t, bus, 4)
	settled(t, bus)
	stop()
	ls, err := deadletter.Open(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ls.Get(t.Context(), "PAYMENTS/ledger/3")
	if err != nil {
		t.Fatal(err)
	}
	if err := ls.Dismiss(t.Context(), l, "seen"); err != nil {
		t.Fatal(err)
	}
	forget(t, bus)
	if err := js.DeleteConsumer(t.Context(), deadletter.Audit, deadletter.Durable); err != nil {
		t.Fatal(err)
	}
	collect(t, bus, deadletter.Options{})
	settled(t, bus)
	letters(t, bus, 3)
	if got := records(t, bus, "stored"); len(got) != 4 {
		t.Errorf("%v", got)
	}
}

// forget takes AUDIT's and DEADLETTERS' memory of message ids away, as time does.
func forget(t *testing.T, bus *bustest.Bus) {
	t.Helper()
	js := bus.JetStream()
	for name, subject := range map[string]string{deadletter.Audit: "events.audit.probe", deadletter.Stream: "deadletters.probe"} {
		st, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := st.CachedInfo().Config
		cfg.Duplicates = 100 * time.Millisecond
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		for known := 0; known < 2; { // the first time it is new, and the second time it is so again
			ack, err := js.Publish(t.Context(), subject, nil, jetstream.WithMsgID("probe"))
			if err != nil {
				t.Fatal(err)
			}
			if !ack.Duplicate {
				known++
				if name == deadletter.Stream {
					if err := st.DeleteMsg(t.Context(), ack.Sequence); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// A letter that cannot be stored waits, and what waits is told once.
func TestFullStreamMakesThemWait(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	c, _ := collect(t, bus, deadletter.Options{MaxBytes: 4 << 10})
	big := make([]byte, 3<<10)
	refuse(t, bus, &nats.Msg{Subject: "events.payments.a", Data: big}, "")
	letters(t, bus, 1)
	refuse(t, bus, &nats.Msg{Subject: "events.payments.a", Data: big}, "")
	await(t, func() error {
		if !strings.Contains(c.Status().Failing, "maximum bytes") {
			return errors.New("not failing: " + c.Status().Failing)
		}
		return nil
	})
	ls, err := deadletter.Open(t.Context(), bus.JetStream())
	if err != nil {
		t.Fatal(err)
	}
	l, err := ls.Get(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	if err := ls.Dismiss(t.Context(), l, "makes room"); err != nil {
		t.Fatal(err)
	}
	if l := letters(t, bus, 1)[0]; l.Sequence != 2 {
		t.Errorf("%+v", l)
	}
	settled(t, bus)
	if s := c.Status(); s.Failing != "" {
		t.Errorf("%+v", s)
	}
}

// A message as large as can be has no room for what a letter says beside.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML("[nats]\nmax_payload = \"64KB\"\n"+payments))
	collect(t, bus, deadletter.Options{})
	refuse(t, bus, &nats.Msg{Subject: "events.payments.a", Data: make([]byte, 64<<10)}, "")
	if l := letters(t, bus, 1)[0]; !strings.Contains(l.Missing, "65536 bytes of payload") || len(l.Data) > 0 || l.Subject != "events.payments.a" {
		t.Errorf("%+v", l)
	}
}

// A bus on which nobody gives up has the consumers that were declared and no other. The first advisory makes the durable,
// at once and not when AUDIT is looked at the next time.
func TestNoConsumerBeforeTheFirstAdvisory(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	nc := bus.Connect()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- deadletter.NewCollector(js, deadletter.Options{Every: time.Hour}).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	await(t, func() error {
		if n := nc.NumSubscriptions(); n < 3 { // for answers, and for both kinds of advisories
			return fmt.Errorf("%d subscriptions", n)
		}
		return nc.Flush()
	})
	if _, err := bus.JetStream().Consumer(t.Context(), deadletter.Audit, deadletter.Durable); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("there is a consumer: %v", err)
	}
	refuse(t, bus, nats.NewMsg("events.payments.a"), "")
	letters(t, bus, 1)
	settled(t, bus)
}

// Without the capture there is nothing to collect, and nothing is made.
func TestNothingCaptured(t *testing.T) {
	t.Parallel()
	for _, toml := range []string{
		"[bus]\ndefault_streams = false",
		"[[streams]]\nname = \"AUDIT\"\nsubjects = [\"events.audit.*\", \"events.audit.*.>\"]",
	} {
		bus := bustest.Run(t, bustest.WithTOML(toml))
		c := deadletter.NewCollector(bus.JetStream(), deadletter.Options{})
		if err := c.Run(t.Context()); !errors.Is(err, deadletter.ErrNothingCaptured) {
			t.Errorf("%v", err)
		}
		if _, err := bus.JetStream().Consumer(t.Context(), deadletter.Audit, deadletter.Durable); err == nil {
			t.Error("there is a consumer")
		}
	}
}

// Consumers that give up on letters, or on what says that somebody gave up, must not make more and more of both.
func TestNoLetterAboutLetters(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	js := bus.JetStream()
	collect(t, bus, deadletter.Options{})
	refuse(t, bus, nats.NewMsg("events.payments.a"), "")
	letters(t, bus, 1)
	settled(t, bus)
	for _, name := range []string{deadletter.Stream, deadletter.Audit} {
		con, err := js.CreateConsumer(t.Context(), name, jetstream.ConsumerConfig{Durable: "picky", AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy})
		if err != nil {
			t.Fatal(err)
		}
		m, err := con.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Term(); err != nil {
			t.Fatal(err)
		}
	}
	captured(t, bus, 3)
	settled(t, bus)
	letters(t, bus, 1)
}

// The end comes at once.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := deadletter.NewCollector(bus.JetStream(), deadletter.Options{}).Run(ctx); err != nil {
		t.Error(err)
	}
}
