package deadletter

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const source = "deltran-bus"

// What a record in AUDIT says of a letter: where it came from, never what is in it.
type record struct {
	Letter     string     `json:"letter"`
	Number     uint64     `json:"number"` // in DEADLETTERS
	Stream     string     `json:"stream"`
	Consumer   string     `json:"consumer"`
	Sequence   uint64     `json:"sequence"`
	Subject    string     `json:"subject,omitempty"`
	MsgID      string     `json:"msg_id,omitempty"` // the message's Nats-Msg-Id, which is its event_id
	Cause      Cause      `json:"cause"`
	Deliveries uint64     `json:"deliveries"`
	GivenUp    time.Time  `json:"given_up"`
	Missing    string     `json:"missing,omitempty"`
	Advisory   uint64     `json:"advisory,omitempty"` // its sequence in AUDIT
	To         *placement `json:"to,omitempty"`       // where a redriven one is now
	After      *placement `json:"after,omitempty"`    // where its stream ended before it was redriven
	Reason     string     `json:"reason,omitempty"`   // why it was dismissed
}

type placement struct {
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
}

func (l Letter) record() record {
	return record{
		Letter: l.ID.String(), Number: l.Number, Stream: l.ID.Stream, Consumer: l.Consumer, Sequence: l.Sequence, Subject: l.Subject,
		MsgID: l.Header.Get(nats.MsgIdHdr), Cause: l.Cause, Deliveries: l.Deliveries, GivenUp: l.GivenUp.UTC(), Missing: l.Missing,
	}
}

// keep publishes a record on events.audit.dead-letter.<action>.
func (r record) keep(ctx context.Context, js jetstream.JetStream, action, happening string, l Letter) error {
	m, err := r.message(action, records+"."+action, happening, l)
	if err != nil {
		return err
	}
	if _, err := js.PublishMsg(ctx, m, jetstream.WithExpectStream(Audit)); err != nil {
		return fmt.Errorf("stream %s: record of letter %s: %w", Audit, l.ID, err)
	}
	return nil
}

// message is a record as an event. The id is made of what happened, so that saying it a second time adds nothing. A
// payment's events and what became of them have its correlation id in common.
func (r record) message(action, subject, happening string, l Letter) (*nats.Msg, error) {
	e, err := event.New("dead-letter."+action, source, r)
	if err != nil {
		return nil, err
	}
	e.ID = uuid(action + " " + happening)
	if original, err := event.Decode(l.Data); err == nil {
		e.Metadata.CorrelationID = original.Metadata.CorrelationID
	}
	m := nats.NewMsg(subject)
	m.Header.Set(nats.MsgIdHdr, e.ID)
	m.Data, err = e.Encode()
	return m, err
}

// uuid is a UUID of version 8 that is always the same for the same text.
func uuid(text string) string {
	sum := sha256.Sum256([]byte(text))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
