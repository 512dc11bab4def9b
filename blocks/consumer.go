package blocks

import (
	"errors"
	"fmt"
)

// Position is a place in a consumer: its own sequence, and the stream's.
type Position struct {
	Consumer uint64 `json:"consumer_seq"`
	Stream   uint64 `json:"stream_seq"`
}

// ConsumerState is what o.dat says.
type ConsumerState struct {
	AckFloor    Position // everything up to here is acknowledged
	Delivered   Position // the last delivery
	Pending     int      // delivered and not acknowledged
	Redelivered int
}

var errState = errors.New("cannot be")

// DecodeConsumerState reads o.dat, and is an error as well when what it says contradicts itself. Nothing protects the
// file: a changed number that still makes sense cannot be seen here.
func DecodeConsumerState(b []byte) (s ConsumerState, _ error) {
	if len(b) < 2 || b[0] != 22 || b[1] != 1 && b[1] != 2 {
		return s, fmt.Errorf("is not of a version that nats-server %s writes", Engine)
	}
	version, r := b[1], &reader{b: b[2:]}
	s.AckFloor = Position{r.uvarint(), r.uvarint()}
	s.Delivered = Position{r.uvarint(), r.uvarint()}
	if version == 1 { // it has the next delivery, counted from the floor
		s.Delivered.Consumer += max(s.AckFloor.Consumer, 1) - 1
		s.Delivered.Stream += max(s.AckFloor.Stream, 1) - 1
	}
	for _, p := range []Position{s.AckFloor, s.Delivered} {
		if p.Stream > seqMask || p.Consumer > seqMask {
			return s, fmt.Errorf("position %d of the stream, %d of the consumer %w", p.Stream, p.Consumer, errState)
		}
	}
	if s.AckFloor.Stream > s.Delivered.Stream || s.AckFloor.Consumer > s.Delivered.Consumer {
		return s, fmt.Errorf("acknowledged up to %d, delivered up to %d: %w", s.AckFloor.Stream, s.Delivered.Stream, errState)
	}

	pending := r.count()
	if pending > 0 {
		r.varint() // the time that those below count from
	}
	for range pending {
		seq := r.uvarint() + s.AckFloor.Stream
		if version == 2 {
			if d := r.uvarint() + s.AckFloor.Consumer; d > s.Delivered.Consumer {
				return s, fmt.Errorf("pending delivery %d of %d %w", d, s.Delivered.Consumer, errState)
			}
		}
		r.varint()
		if r.bad {
			return s, errShort
		}
		if seq <= s.AckFloor.Stream || seq > s.Delivered.Stream {
			return s, fmt.Errorf("pending message %d, acknowledged up to %d, delivered up to %d: %w", seq, s.AckFloor.Stream, s.Delivered.Stream, errState)
		}
	}
	redelivered := r.count()
	for range redelivered {
		r.uvarint()
		r.uvarint()
	}
	if r.bad || len(r.b) > 0 {
		return s, errShort
	}
	s.Pending, s.Redelivered = int(pending), int(redelivered)
	return s, nil
}
