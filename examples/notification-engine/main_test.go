package main

import (
	"context"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/bustest"
)

// The reason was the error of event.Decode, which quotes members: personal data lay in AUDIT, where nobody can erase it.
func TestNothingOfTheMessageInAudit(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTCP())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- run(ctx, bus.URL()) }()
	if _, err := bus.JetStream().Publish(ctx, "events.notifications.email.requested", []byte(`{"event_id": "jane@example.com"}`)); err != nil {
		t.Fatal(err)
	}
	given := bus.Await("AUDIT", func(e bustest.Event) bool { return strings.Contains(e.Subject, ".MSG_TERMINATED.") })
	if text := string(given.Data); strings.Contains(text, "jane") || !strings.Contains(text, `"reason":"not an event"`) {
		t.Error(text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
