package server_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// At max_file_store every stream refuses, at its own quota only that stream, each with JetStream's own error; nothing
// acknowledged is lost, consumers go on reading, and room that is made is used.
func TestOwnLimits(t *testing.T) {
	t.Parallel()
	s := start(t, onDisk(t, toml(`
[nats.jetstream]
max_file_store = "1MB"
[bus]
default_streams = false
[[streams]]
name = "A"
subjects = ["a.*"]
[[streams]]
name = "B"
subjects = ["b.*"]
max_bytes = "100KB"
discard = "new"
`)))
	js := js(t, s)
	ctx := context.Background()
	until := func(subject string) (acked uint64, code jetstream.ErrorCode) {
		for {
			_, err := js.Publish(ctx, subject, make([]byte, 10_000))
			var api *jetstream.APIError
			if errors.As(err, &api) {
				return acked, api.ErrorCode
			}
			if err != nil {
				t.Fatal(err)
			}
			acked++
		}
	}
	if acked, code := until("b.x"); code != 10077 || acked == 0 || messages(t, js, "B") != acked {
		t.Errorf("the quota: %d acknowledged, %d there, error %d", acked, messages(t, js, "B"), code)
	}
	acked, code := until("a.x")
	if code != insufficient || acked == 0 || messages(t, js, "A") != acked {
		t.Errorf("the limit: %d acknowledged, %d there, error %d", acked, messages(t, js, "A"), code)
	}
	a, err := js.Stream(ctx, "A")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.GetMsg(ctx, acked); err != nil {
		t.Errorf("the last message: %v", err)
	}
	if err := a.Purge(ctx, jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	if more, code := until("a.x"); more != acked-1 || code != insufficient {
		t.Errorf("after a purge %d more, error %d", more, code)
	}
	if st := s.State().Space; st.Refusing != "" || st.Restarts+st.WriteErrors > 0 {
		t.Errorf("%+v", st)
	}
}
