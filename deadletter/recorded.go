package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go/jetstream"
)

// recorded reads the records from a sequence on: of which advisories there is a letter, or was one.
func recorded(ctx context.Context, audit jetstream.Stream, from uint64, known map[uint64]bool) error {
	for from = max(from, 1); ; {
		m, err := audit.GetMsg(ctx, from, jetstream.WithGetMsgSubject(records+".stored"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stream %s: records of letters: %w", Audit, err)
		}
		var r record
		if e, err := event.Decode(m.Data); err == nil && json.Unmarshal(e.Data, &r) == nil {
			known[r.Advisory] = true
		}
		from = m.Sequence + 1
	}
}

// ours reports whether a message of AUDIT says of another that somebody gave up on it.
func ours(subject string) bool {
	return strings.HasPrefix(subject, records+".") || strings.HasPrefix(subject, maxDeliveries+".") || strings.HasPrefix(subject, terminations+".")
}
