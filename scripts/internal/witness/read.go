package witness

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// read calls f for every message of the stream from that sequence on that was published to the subject; the bus writes messages
// of its own to its streams. It asks for batches of messages directly, which leaves
// no consumer behind; the stream has to allow that.
func read(ctx context.Context, nc *nats.Conn, stream, subject string, from uint64, f func(seq uint64, data []byte)) error {
	sub, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	for from = max(from, 1); ; {
		// Few bytes at a time, so that no server takes a busy machine for a client that is too slow.
		ask, err := json.Marshal(map[string]uint64{"seq": from, "batch": 1024, "max_bytes": 2 << 20})
		if err != nil {
			return err
		}
		if err := nc.PublishRequest("$JS.API.DIRECT.GET."+stream, sub.Subject, ask); err != nil {
			return err
		}
		for more := true; more; {
			wait, cancel := context.WithTimeout(ctx, 10*time.Second)
			m, err := sub.NextMsgWithContext(wait)
			cancel()
			if err != nil {
				return fmt.Errorf("stream %s: reading from %d: %w", stream, from, err)
			}
			switch m.Header.Get("Status") {
			case "404": // nothing from here on
				return nil
			case "204": // the end of a batch
				if m.Header.Get("Nats-Num-Pending") == "0" {
					return nil
				}
				more = false
			case "":
				seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
				if err != nil {
					return fmt.Errorf("stream %s: %w", stream, err)
				}
				if m.Header.Get("Nats-Subject") == subject {
					f(seq, m.Data)
				}
				from = seq + 1
			default:
				return fmt.Errorf("stream %s: reading from %d: %s", stream, from, m.Header.Get("Description"))
			}
		}
	}
}
