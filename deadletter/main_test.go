package deadletter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const payments = `
[[streams]]
name = "PAYMENTS"
subjects = ["events.payments.*", "events.payments.*.>"]
max_age = "1h"
max_bytes = "64MB"
discard = "new"
  [[streams.consumers]]
  name = "ledger"
  ack_wait = "30s"
  max_deliver = 1
`

// collect runs a Collector until the end of the test, or until the function that it returns is called.
func collect(t *testing.T, bus *bustest.Bus, o deadletter.Options) (c *deadletter.Collector, stop func()) {
	t.Helper()
	if o.Every == 0 {
		o.Every = 50 * time.Millisecond
	}
	js, err := jetstream.New(bus.Connect())
	if err != nil {
		t.Fatal(err)
	}
	c = deadletter.NewCollector(js, o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return c, stop
}

// fetch takes n messages of PAYMENTS as its consumer.
func fetch(t *testing.T, bus *bustest.Bus, n int) (out []jetstream.Msg) {
	t.Helper()
	con, err := bus.JetStream().Consumer(t.Context(), "PAYMENTS", "ledger")
	if err != nil {
		t.Fatal(err)
	}
	for len(out) < n {
		msgs, err := con.Fetch(n-len(out), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range msgs.Messages() {
			out = append(out, m)
		}
		if err := msgs.Error(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// refuse publishes a message, and terminates it as its consumer.
func refuse(t *testing.T, bus *bustest.Bus, m *nats.Msg, reason string) {
	t.Helper()
	if _, err := bus.JetStream().PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, bus, 1)[0].TermWithReason(reason); err != nil {
		t.Fatal(err)
	}
}

// letters waits until there are n, and returns them.
func letters(t *testing.T, bus *bustest.Bus, n int) []deadletter.Letter {
	t.Helper()
	var all []deadletter.Letter
	await(t, func() error {
		ls, err := deadletter.Open(t.Context(), bus.JetStream())
		if err != nil {
			return err
		}
		all = nil
		for l, err := range ls.Select(t.Context(), deadletter.Query{}) {
			if err != nil {
				return err
			}
			all = append(all, l)
		}
		if len(all) != n {
			return fmt.Errorf("%d letters, not %d: %+v", len(all), n, all)
		}
		return nil
	})
	return all
}

// settled waits until every advisory is worked off.
func settled(t *testing.T, bus *bustest.Bus) {
	t.Helper()
	await(t, func() error {
		con, err := bus.JetStream().Consumer(t.Context(), deadletter.Audit, deadletter.Durable)
		if err != nil {
			return err
		}
		if i := con.CachedInfo(); i.NumPending+uint64(i.NumAckPending) > 0 {
			return fmt.Errorf("%d pending, %d unacknowledged", i.NumPending, i.NumAckPending)
		}
		return nil
	})
}

// await asks until there is no error.
func await(t *testing.T, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// stored is what a stream holds on a subject.
func stored(t *testing.T, bus *bustest.Bus, stream, subject string) (out []*jetstream.RawStreamMsg) {
	t.Helper()
	st, err := bus.JetStream().Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); ; seq++ {
		m, err := st.GetMsg(t.Context(), seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		seq = m.Sequence
		out = append(out, m)
	}
}

// records are the data of what AUDIT says happened to letters.
func records(t *testing.T, bus *bustest.Bus, action string) (out []map[string]any) {
	t.Helper()
	for _, m := range stored(t, bus, deadletter.Audit, "events.audit.dead-letter."+action) {
		e, err := event.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if e.Source != "deltran-bus" || e.Type != "dead-letter."+action || m.Header.Get(nats.MsgIdHdr) != e.ID {
			t.Errorf("%+v", e)
		}
		var data map[string]any
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		data["correlation_id"] = e.Metadata.CorrelationID
		out = append(out, data)
	}
	return out
}

// captured waits until AUDIT has n advisories.
func captured(t *testing.T, bus *bustest.Bus, n int) {
	t.Helper()
	await(t, func() error {
		if got := len(stored(t, bus, deadletter.Audit, "$JS.EVENT.ADVISORY.>")); got != n {
			return fmt.Errorf("%d advisories, not %d", got, n)
		}
		return nil
	})
}
