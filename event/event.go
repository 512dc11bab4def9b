// Package event is what travels on the bus: the envelope that every event has, the subjects that it goes to, and a
// Publisher that stores events durably, many of them with one sync of the disk.
//
//	e, err := event.New("transaction.created", "token-engine", Transaction{ID: id, Amount: "1000.00", Currency: "USD"})
//	e.Metadata.CorrelationID = payment
//
//	publisher, err := event.NewPublisher(nc)
//	ack, err := publisher.Publish(ctx, "events.transactions.created", e) // on the disk if err is nil
//
//	e, err := event.Decode(msg.Data()) // in a consumer
//
// As JSON an event is
//
//	{
//	  "event_id": "0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99",
//	  "event_type": "transaction.created",
//	  "timestamp": "2025-11-06T12:00:00Z",
//	  "source": "token-engine",
//	  "version": "1.0",
//	  "data": {"transaction_id": "…", "amount": 1000.00, "currency": "USD"},
//	  "metadata": {"correlation_id": "…", "user_id": "…"}
//	}
//
// and Schema says the same for programs in other languages.
package event

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Version is the version of the envelope that New writes.
const Version = "1.0"

// Event is one event. Data is kept byte for byte, so that an amount never passes through a float64, and so are fields
// that only a newer version knows: what was decoded can be encoded again without a loss.
type Event struct {
	ID        string          // a UUID; JetStream stores one id once within the stream's duplicate_window
	Type      string          // what happened, such as "transaction.created"
	Timestamp time.Time       // when it happened
	Source    string          // the service that says so
	Version   string          // of the envelope, such as "1.0"
	Data      json.RawMessage // an object
	Metadata  Metadata

	extra []byte // members that this version does not know, each with a comma in front
}

// Metadata connects events with each other and with people. Members that are not listed here survive as well, and
// metadata in which nothing was changed stays byte for byte as it was decoded.
type Metadata struct {
	CorrelationID string // a UUID that all events of one business process share, such as those of one payment; may be empty
	UserID        string // the UUID of who set it off; may be empty

	raw json.RawMessage // as decoded
}

// New is an event that happens now, with an id of its own. Data is what encoding/json makes an object of; a
// json.RawMessage or a []byte is JSON already and kept byte for byte, nil is {}. What is not a valid event is an
// *InvalidError.
func New(eventType, source string, data any) (Event, error) {
	e := Event{
		ID:        NewID(),
		Type:      eventType,
		Timestamp: time.Now().UTC().Truncate(time.Microsecond),
		Source:    source,
		Version:   Version,
	}
	switch d := data.(type) {
	case nil:
		e.Data = json.RawMessage("{}")
	case json.RawMessage:
		e.Data = d
	case []byte:
		e.Data = d
	default:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false) // a name with an & is to be found with grep
		if err := enc.Encode(data); err != nil {
			return Event{}, fmt.Errorf("event %s: data: %w", eventType, err)
		}
		e.Data = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
	return e, e.Validate()
}

// MsgID is the id in lower case, as which it is the header Nats-Msg-Id: UUIDs are equal whatever their case (RFC 9562), and
// JetStream compares bytes. Compare it, too, to recognise an event that was seen.
func (e *Event) MsgID() string { return strings.ToLower(e.ID) }

// NewID is a new UUID of version 7: ids that are made later sort later, by the millisecond.
func NewID() string {
	var id [16]byte
	_, _ = rand.Read(id[6:]) // it never fails
	var now [8]byte
	binary.BigEndian.PutUint64(now[:], uint64(time.Now().UnixMilli()))
	copy(id[:6], now[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	text := make([]byte, 0, 36)
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return string(text)
}
