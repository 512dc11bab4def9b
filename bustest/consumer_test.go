package bustest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/nats-io/nats.go/jetstream"
)

const engine = "notification-engine-consumer"

// Each way of answering, each message as often as JetStream delivers it.
func TestCounts(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	c := bus.Consumer("NOTIFICATIONS", engine)
	if n := c.AwaitIdle(); n != (bustest.Counts{}) {
		t.Errorf("%+v", n)
	}
	for _, word := range []string{"ack", "nak once", "nak", "term", "ignore"} {
		bus.Publish("events.notifications.x", word)
	}
	if n := c.Counts(); n != (bustest.Counts{Pending: 5}) {
		t.Errorf("%+v", n)
	}
	running, err := consumer(t, bus, "NOTIFICATIONS", engine).Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			t.Error(err)
			return
		}
		switch word := string(m.Data()); {
		case word == "ack" || word == "nak once" && meta.NumDelivered == 2:
			err = m.Ack()
		case strings.HasPrefix(word, "nak"):
			err = m.Nak()
		case word == "term":
			err = m.Term()
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Stop()
	want := bustest.Counts{AckPending: 1, Delivered: 8, Redelivered: 3, Acked: 2, Naked: 4, Terminated: 1, GivenUp: 1}
	if n := c.Await(func(n bustest.Counts) bool { return n.GivenUp == 1 && n.Acked == 2 && n.Pending == 0 }); n != want {
		t.Errorf("%+v", n)
	}
	for range 3 {
		delivered := c.Counts().Delivered
		c.PassAckWait()
		c.Await(func(n bustest.Counts) bool { return n.Delivered > delivered || n.GivenUp == 2 })
	}
	want.AckPending, want.Delivered, want.Redelivered, want.GivenUp = 0, 10, 5, 2
	if n := c.AwaitIdle(); n != want {
		t.Errorf("%+v", n)
	}
}

func TestAwaitTellsWhatWasSaid(t *testing.T) {
	t.Parallel()
	said := try(t, func(t testing.TB) {
		bus := bustest.Run(t, bustest.WithTimeout(50*time.Millisecond))
		bus.Publish("events.notifications.x", nil)
		m := fetch(t, bus.JetStream(), "NOTIFICATIONS", engine)
		if err := m.NakWithDelay(time.Hour); err != nil {
			t.Fatal(err)
		}
		bus.Consumer("NOTIFICATIONS", engine).AwaitIdle()
	})
	if len(said) != 1 || !strings.Contains(said[0], "NOTIFICATIONS/notification-engine-consumer: not as awaited after 50ms: {Pending:0 AckPending:1 Delivered:1 ") ||
		!strings.Contains(said[0], " #1 naked at delivery 1 {\"delay\": 3600000000000}") {
		t.Errorf("%q", said)
	}
}

// A delay of an hour, an ack_wait of five minutes and a backoff pass in no time.
func TestPassAckWait(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML("[[streams]]\nname = \"RISK\"\n[[streams.consumers]]\nname = \"slow\"\nbackoff = [\"1h\", \"2h\"]\n"))
	for stream, name := range map[string]string{"REPORTING": "reporting-engine-consumer", "RISK": "slow"} {
		subject := "events." + strings.ToLower(stream) + ".x"
		for _, word := range []string{"acked", "left", "later"} {
			bus.Publish(subject, word)
		}
		c := bus.Consumer(stream, name)
		for range 3 {
			m := fetch(t, bus.JetStream(), stream, name)
			var err error
			switch string(m.Data()) {
			case "acked":
				err = m.Ack()
			case "later":
				err = m.NakWithDelay(time.Hour)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		c.PassAckWait()
		for range 2 {
			if m := fetch(t, bus.JetStream(), stream, name); string(m.Data()) == "acked" {
				t.Error("acked, and delivered again")
			} else if err := m.Ack(); err != nil {
				t.Error(err)
			}
		}
		if n := c.AwaitIdle(); n != (bustest.Counts{Delivered: 5, Redelivered: 2, Acked: 3, Naked: 1}) {
			t.Errorf("%s: %+v", stream, n)
		}
	}
}

// Messages that expire while they wait for an answer are terminated, and not redelivered.
func TestCountsOfExpired(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	bus.Publish("events.notifications.x", nil)
	fetch(t, bus.JetStream(), "NOTIFICATIONS", engine)
	bus.PassMaxAge("NOTIFICATIONS")
	if n := bus.Consumer("NOTIFICATIONS", engine).AwaitIdle(); n != (bustest.Counts{Delivered: 1, Terminated: 1}) {
		t.Errorf("%+v", n)
	}
}

// What is published is pending at once, whatever is published beside it: AwaitIdle does not end too early.
func TestPendingAtOnce(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(`
[[streams]]
name = "RISK"
[[streams.consumers]]
name = "two"
filter_subjects = ["events.risk.a", "events.risk.b.*"]
`))
	c := bus.Consumer("RISK", "two")
	for n := range 50 {
		bus.Publish("events.risk.a", nil)
		bus.Publish("events.risk.c", nil)
		bus.Publish("events.risk.b.x", nil)
		if got := c.Counts(); got != (bustest.Counts{Pending: 2 * (n + 1)}) {
			t.Fatalf("%d: %+v", n, got)
		}
	}
	running, err := consumer(t, bus, "RISK", "two").Consume(func(m jetstream.Msg) { _ = m.Ack() })
	if err != nil {
		t.Fatal(err)
	}
	defer running.Stop()
	for n := range 50 {
		if n > 0 {
			bus.Publish("events.risk.a", nil)
		}
		if got := c.AwaitIdle(); got != (bustest.Counts{Delivered: 100 + n, Acked: 100 + n}) {
			t.Fatalf("%d: %+v", n, got)
		}
	}
}
