package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"
)

// A server that is shut down while it commits a batch leaves the files of that open: nats-server 2.15.2 keeps them for
// its next start, and forgets its own goroutines.
func TestMain(m *testing.M) {
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(server+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server+".(*msgBlock).flushLoop"), goleak.IgnoreAnyFunction(server+"/ats.Register.func1"))
}

// takesBatches makes TRANSACTIONS take batches.
const takesBatches = "[[streams]]\nname = \"TRANSACTIONS\"\nallow_atomic = true\n"

const created = "events.transactions.created"

// publisher is one that makes batches of all that waits.
func publisher(t *testing.T, nc *nats.Conn, opts ...event.Option) *event.Publisher {
	t.Helper()
	p, err := event.NewPublisher(nc, opts...)
	if err != nil {
		t.Fatal(err)
	}
	event.Eager(p)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// numbered is an event that says which one it is.
func numbered(n int) event.Event {
	e, err := event.New("transaction.created", "test", json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)))
	if err != nil {
		panic(err)
	}
	return e
}

func stored(t *testing.T, bus *bustest.Bus, stream string) []event.Event {
	t.Helper()
	var out []event.Event
	for _, m := range bus.Events(stream) {
		e, err := event.Decode(m.Data)
		if err != nil || m.Header.Get(nats.MsgIdHdr) != e.ID {
			t.Fatal(m, err)
		}
		out = append(out, e)
	}
	return out
}

func TestPublish(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	p := publisher(t, bus.Conn())
	e := numbered(1)
	for i, want := range []event.Ack{{Stream: "TRANSACTIONS", Sequence: 1}, {Stream: "TRANSACTIONS", Sequence: 1, Duplicate: true}} {
		if ack, err := p.Publish(t.Context(), created, e); ack != want || err != nil {
			t.Error(i, ack, err)
		}
	}
	f, err := p.PublishAsync(t.Context(), "events.clearing.window.opened", numbered(2))
	if err != nil {
		t.Fatal(err)
	}
	<-f.Done()
	if ack, err := f.Ack(); ack != (event.Ack{Stream: "CLEARING", Sequence: 1}) || err != nil {
		t.Error(ack, err)
	}
	want, _ := e.Encode()
	if got := bus.Events("TRANSACTIONS"); len(got) != 1 || string(got[0].Data) != string(want) || got[0].Header.Get(nats.MsgIdHdr) != e.ID {
		t.Error(got)
	}
}

// UUIDs are equal whatever their case; the one in capitals was stored beside the other. Its bytes stay as they are.
func TestIDInAnotherCase(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	p := publisher(t, bus.Conn())
	e := numbered(1)
	e.ID = "0190B5A0-7E7C-7E41-A9A5-6D3F2C1B0A99"
	for i, want := range []event.Ack{{Stream: "TRANSACTIONS", Sequence: 1}, {Stream: "TRANSACTIONS", Sequence: 1, Duplicate: true}} {
		if ack, err := p.Publish(t.Context(), created, e); ack != want || err != nil {
			t.Error(i, ack, err)
		}
		e.ID = strings.ToLower(e.ID)
	}
	if got := bus.Events("TRANSACTIONS"); len(got) != 1 || !strings.Contains(string(got[0].Data), `"event_id":"0190B5A0-7E7C-`) ||
		got[0].Header.Get(nats.MsgIdHdr) != e.ID {
		t.Error(got)
	}
}

// However many publish at once, and however they are put together: each has the place at which its event is.
func TestEachHasItsOwnResult(t *testing.T) {
	t.Parallel()
	for name, toml := range map[string]string{"batches": takesBatches, "one by one": strings.ReplaceAll(takesBatches, "true", "false")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := bustest.Run(t, bustest.WithTOML(toml), bustest.WithTCP())
			nc, err := nats.Connect(bus.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			p := publisher(t, nc)
			const callers, each = 100, 30
			acks := make([]event.Ack, callers*each)
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := range each {
						n := c*each + i
						subject := []string{created, "events.transactions.payment.created", "events.transactions.payment.booked"}[n%3]
						ack, err := p.Publish(t.Context(), subject, numbered(n))
						if err != nil || ack.Duplicate || ack.Stream != "TRANSACTIONS" {
							t.Error(ack, err)
						}
						acks[n] = ack
					}
				})
			}
			wg.Wait()
			got := bus.Events("TRANSACTIONS")
			if len(got) != len(acks) {
				t.Fatal(len(got))
			}
			batched := 0
			for n, ack := range acks {
				m := got[ack.Sequence-1]
				if e, err := event.Decode(m.Data); err != nil || string(e.Data) != fmt.Sprintf(`{"n":%d}`, n) {
					t.Fatalf("%d is said to be at %d; there is %s", n, ack.Sequence, m)
				}
				if m.Header.Get("Nats-Batch-Id") != "" {
					batched++
				}
			}
			if (batched > len(acks)/2) != (name == "batches") {
				t.Errorf("%d of %d went in batches", batched, len(acks))
			}
		})
	}
}

// One that is stored already does not fail those beside it.
func TestDuplicatesInABatch(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(takesBatches))
	p := publisher(t, bus.Conn())
	var events []event.Event
	for n := range 500 {
		events = append(events, numbered(n))
	}
	for _, n := range []int{17, 250, 251, 499} {
		if _, err := p.Publish(t.Context(), created, events[n]); err != nil {
			t.Fatal(err)
		}
	}
	events = append(events, events[20], events[499]) // and twice at once
	var futures []*event.Future
	for _, e := range events {
		f, err := p.PublishAsync(t.Context(), created, e)
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	duplicates := 0
	at := map[string]uint64{}
	for i, f := range futures {
		ack, err := f.Ack()
		if err != nil {
			t.Fatal(err)
		}
		if ack.Duplicate {
			duplicates++
		}
		if seq := at[events[i].ID]; seq != 0 && seq != ack.Sequence {
			t.Errorf("%d is at %d, and at %d", i, seq, ack.Sequence)
		}
		at[events[i].ID] = ack.Sequence
	}
	if n := len(stored(t, bus, "TRANSACTIONS")); n != 500 || duplicates != 6 {
		t.Errorf("%d stored, %d duplicates", n, duplicates)
	}
	last := -1
	for _, e := range stored(t, bus, "TRANSACTIONS")[4:] {
		var data struct{ N int }
		if err := json.Unmarshal(e.Data, &data); err != nil || data.N <= last {
			t.Fatalf("%d comes after %d", data.N, last)
		}
		last = data.N
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("a"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	bus := bustest.Run(t, bustest.WithTOML(takesBatches+`
[nats]
max_payload = "64KB"
[nats.authorization]
users = [{ user = "a", password = "`+string(hash)+`", permissions = { publish = ["events.transactions.>", "events.nobody.*", "orders.>"], subscribe = ["_INBOX.>"] } }]
`))
	nc := bus.Connect(nats.UserInfo("a", "a"))
	p := publisher(t, nc)
	var api *jetstream.APIError
	var invalid *event.InvalidError
	large := numbered(1)
	large.Data = json.RawMessage(`{"a":"` + strings.Repeat("x", 64<<10) + `"}`)
	for _, c := range []struct {
		subject string
		event   event.Event
		is      func(error) bool
		text    string
	}{
		{created, event.Event{}, func(err error) bool { return errors.As(err, &invalid) }, "publish events.transactions.created: not a valid event: event_id is missing; *"},
		{"events.transactions.*", numbered(1), nil, `publish events.transactions.*: "*" cannot be a part of a subject to publish to`},
		{"events..x", numbered(1), nil, `publish events..x: "" cannot be a part of a subject to publish to`},
		{created + strings.Repeat(".a", 2000), numbered(1), nil, "publish events.*: a subject of 4027 bytes is too long to publish to, 3500 is the most"},
		{"events.nobody.x", numbered(1), func(err error) bool { return errors.Is(err, jetstream.ErrNoStreamResponse) }, "publish events.nobody.x: no stream takes this subject: nats: no response from stream"},
		{"events.risk.x", numbered(1), func(err error) bool { return errors.Is(err, nats.ErrPermissionViolation) }, "publish events.risk.x: *ermission*"},
		{created, large, func(err error) bool { return errors.Is(err, nats.ErrMaxPayload) }, "publish events.transactions.created: 65*bytes with its header are more than the server's max_payload, 65536: nats: maximum payload exceeded"},
	} {
		if _, err := p.Publish(t.Context(), c.subject, c.event); err == nil || !matches(c.text, err.Error()) || c.is != nil && !c.is(err) || errors.Is(err, event.ErrUncertain) {
			t.Errorf("%s: %v, not %s", c.subject, err, c.text)
		}
	}
	release := bus.Fill("TRANSACTIONS")
	if _, err := p.Publish(t.Context(), created, numbered(1)); !errors.As(err, &api) || api.ErrorCode != 10077 {
		t.Error(err)
	}
	release()
	if _, err := p.Publish(t.Context(), created, numbered(1)); err != nil {
		t.Error(err)
	}
}
