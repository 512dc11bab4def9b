package bustest_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/event"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	bus.Publish("events.risk.limit.reached", `{"id":1}`)
	bus.Publish("events.audit.user.changed", []byte{0, 1})
	bus.Publish("events.risk.limit.lifted", struct{ ID int }{2})
	for from, want := range map[string]string{
		"RISK":             "RISK #1  events.risk.limit.reached  {\"id\":1}\nRISK #2  events.risk.limit.lifted  {\"ID\":2}",
		"events.*.user.>":  `AUDIT #1  events.audit.user.changed  "\x00\x01"`,
		"events.risk.*":    "",
		"events.*.limit.*": "RISK #1  events.risk.limit.reached  {\"id\":1}\nRISK #2  events.risk.limit.lifted  {\"ID\":2}",
		"events.>":         "RISK #1  events.risk.limit.reached  {\"id\":1}\nAUDIT #1  events.audit.user.changed  \"\\x00\\x01\"\nRISK #2  events.risk.limit.lifted  {\"ID\":2}",
	} {
		var lines []string
		for _, e := range bus.Events(from) {
			lines = append(lines, e.String())
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", from, got, want)
		}
	}
}

// An event.Event goes as services send it: byte for byte, and once.
func TestPublishEvent(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	e, err := event.New("limit.reached", "test", []byte(`{"amount":  1000.00}`))
	if err != nil {
		t.Fatal(err)
	}
	if first, again := bus.Publish("events.risk.limit.reached", e), bus.Publish("events.risk.limit.reached", e); first.Duplicate || !again.Duplicate {
		t.Error(first, again)
	}
	if got, err := event.Decode(bus.Await("RISK").Data); err != nil || got.ID != e.ID || string(got.Data) != `{"amount":  1000.00}` {
		t.Error(got, err)
	}
	said := try(t, func(t testing.TB) { bustest.Run(t).Publish("events.risk.x", event.Event{}) })
	if len(said) != 1 || !strings.Contains(said[0], "Publish events.risk.x: not a valid event: event_id is missing") {
		t.Errorf("%q", said)
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	has := func(word string) func(bustest.Event) bool {
		return func(e bustest.Event) bool { return strings.Contains(string(e.Data), word) }
	}
	bus.Publish("events.risk.x", "early")
	if e := bus.Await("events.risk.*"); e.Stream != "RISK" || e.Sequence != 1 || time.Since(e.Time) > time.Minute {
		t.Error(e)
	}
	var publishing sync.WaitGroup
	defer publishing.Wait()
	publishing.Go(func() {
		js := bus.JetStream()
		for _, s := range []string{"one", "two", "three"} {
			if _, err := js.Publish(t.Context(), "events.audit.x", []byte(s)); err != nil {
				t.Error(err)
			}
		}
	})
	if e := bus.Await("AUDIT", has("t"), has("o")); e.Sequence != 2 {
		t.Error(e)
	}
	if e := bus.Await("events.audit.*", has("three")); e.Sequence != 3 {
		t.Error(e)
	}
}

// What did arrive is what one wants to see.
func TestAwaitTellsWhatArrived(t *testing.T) {
	t.Parallel()
	said := try(t, func(t testing.TB) {
		bus := bustest.Run(t, bustest.WithTimeout(20*time.Millisecond))
		for range 30 {
			bus.Publish("events.risk.x", "an event")
		}
		bus.Await("events.risk.*", func(e bustest.Event) bool { return e.Subject == "events.risk.y" })
	})
	if len(said) != 1 || !strings.Contains(said[0], "Await events.risk.*: none of 30 events matches after 20ms\n    … 10 more before\n    RISK #11  events.risk.x  an event\n") {
		t.Errorf("%q", said)
	}
}
