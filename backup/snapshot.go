package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
)

// snapshot is one stream as of one moment.
type snapshot struct {
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
	moment time.Time       // when it began
}

// chunk is how much data one message carries: twice of what natscli asks for, for fewer of them.
const chunk = 256 << 10

// While others are to be left their time, less is asked for at once.
const (
	smallChunk  = 64 << 10
	smallWindow = 4 * smallChunk
)

// snapshot writes a stream's messages and consumers to w as nats-server sends them, which may have window bytes under way,
// and waits for its share, which may be nil, of what read says that they were unpacked. What is published meanwhile is not in it.
func (c client) snapshot(ctx context.Context, stream string, window int, sh *share, read *tally, w io.Writer) (*snapshot, error) {
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe()
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the window is the limit
		return nil, err
	}
	size := chunk
	if sh.holds() {
		size, window = smallChunk, min(window, smallWindow)
	}
	s := &snapshot{moment: time.Now().UTC()}
	err = c.ask(ctx, "STREAM.SNAPSHOT."+stream, map[string]any{"deliver_subject": inbox, "chunk_size": size, "window_size": max(window, size)}, s)
	if err != nil {
		return nil, err
	}
	for {
		m, err := c.next(ctx, sub)
		if err != nil {
			return nil, err
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "" && status != "204" {
				return nil, fmt.Errorf("nats-server stopped sending it: %s (%s)", m.Header.Get("Description"), status)
			}
			return s, nil
		}
		if _, err := w.Write(m.Data); err != nil {
			return nil, err
		}
		if err := sh.wait(ctx, read.since()); err != nil { // nats-server reads on when it is told that this has come
			return nil, err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return nil, err
			}
		}
	}
}

// next waits for one message of many.
func (c client) next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	wait, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	m, err := sub.NextMsgWithContext(wait)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		return nil, fmt.Errorf("nothing came for %s", c.wait)
	}
	return m, err
}
