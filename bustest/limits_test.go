package bustest_test

import (
	"errors"
	"testing"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/nats-io/nats.go/jetstream"
)

func TestFill(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]bustest.Option{nil, {bustest.WithFiles()}} {
		bus := bustest.Run(t, opts...)
		bus.Publish("events.risk.x", "some")
		js := bus.JetStream()
		full := func(subject string) bool {
			_, err := js.Publish(t.Context(), subject, nil)
			var api *jetstream.APIError
			if err != nil && (!errors.As(err, &api) || api.ErrorCode != 10077) {
				t.Error(err)
			}
			return err != nil
		}
		release := bus.Fill("RISK")
		if !full("events.risk.x") || full("events.audit.x") {
			t.Error("RISK is to be full, and AUDIT not")
		}
		release()
		release()
		if full("events.risk.x") {
			t.Error("still full")
		}
		release = bus.Fill()
		if !full("events.risk.x") || !full("events.audit.x") || !full("events.clearing.x") {
			t.Error("not full")
		}
		release()
		if full("events.audit.x") || full("events.clearing.x") {
			t.Error("still full")
		}
	}
}

// Expiry goes where no delete and no purge may, and leaves the declaration as it was.
func TestPassMaxAge(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]bustest.Option{nil, {bustest.WithFiles()}} {
		bus := bustest.Run(t, opts...)
		bus.PassMaxAge("AUDIT")
		for range 3 {
			bus.Publish("events.audit.x", nil)
		}
		before, err := bus.JetStream().Stream(t.Context(), "AUDIT")
		if err != nil {
			t.Fatal(err)
		}
		bus.PassMaxAge("AUDIT")
		if got := bus.Events("AUDIT"); len(got) > 0 {
			t.Error(got)
		}
		after, err := bus.JetStream().Stream(t.Context(), "AUDIT")
		if err != nil {
			t.Fatal(err)
		}
		if b, a := before.CachedInfo().Config, after.CachedInfo().Config; a.MaxAge != b.MaxAge || a.Duplicates != b.Duplicates {
			t.Errorf("%+v\n%+v", b, a)
		}
		if ack := bus.Publish("events.audit.x", nil); ack.Sequence != 4 {
			t.Errorf("%+v", ack)
		}
	}
}
