package deadletter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The headers of a letter, beside those of the message. What means something to JetStream or to us is put behind
// Deltran-Original-, so that it is kept and does nothing.
const (
	headStream     = "Deltran-Stream"
	headConsumer   = "Deltran-Consumer"
	headSequence   = "Deltran-Sequence"
	headSubject    = "Deltran-Subject"
	headTime       = "Deltran-Time"
	headCause      = "Deltran-Cause"
	headReason     = "Deltran-Reason"
	headDeliveries = "Deltran-Deliveries"
	headGivenUp    = "Deltran-Given-Up"
	headMissing    = "Deltran-Missing"
	headOriginal   = "Deltran-Original-"
)

// reserved reports whether a header of a message would be taken for something else in a letter.
func reserved(name string) bool {
	for _, p := range []string{"Nats-", "Deltran-"} {
		if len(name) >= len(p) && strings.EqualFold(name[:len(p)], p) {
			return true
		}
	}
	return strings.EqualFold(name, "Status") || strings.EqualFold(name, "Description") // an answer of the server has these
}

// message is the letter as it is stored.
func (l Letter) message() *nats.Msg {
	m := nats.NewMsg(l.subject())
	m.Data = l.Data
	for name, values := range l.Header {
		if reserved(name) {
			name = headOriginal + name
		}
		m.Header[name] = values
	}
	set := func(name, value string) {
		if value != "" {
			m.Header[name] = []string{value}
		}
	}
	set(headStream, l.ID.Stream)
	set(headConsumer, l.Consumer)
	set(headSequence, strconv.FormatUint(l.Sequence, 10))
	set(headSubject, l.Subject)
	if !l.Time.IsZero() {
		set(headTime, l.Time.UTC().Format(time.RFC3339Nano))
	}
	set(headCause, string(l.Cause))
	set(headReason, l.Reason)
	set(headDeliveries, strconv.FormatUint(l.Deliveries, 10))
	set(headGivenUp, l.GivenUp.UTC().Format(time.RFC3339Nano))
	set(headMissing, l.Missing)
	return m
}

// parse reads a letter that was stored.
func parse(m *jetstream.RawStreamMsg) (Letter, error) {
	h := m.Header
	l := Letter{
		ID: ID{Stream: h.Get(headStream), Consumer: h.Get(headConsumer)}, Number: m.Sequence, Stored: m.Time,
		Cause: Cause(h.Get(headCause)), Reason: h.Get(headReason), Subject: h.Get(headSubject), Missing: h.Get(headMissing),
		Header: nats.Header{}, Data: m.Data,
	}
	var errs [4]error
	l.Sequence, errs[0] = strconv.ParseUint(h.Get(headSequence), 10, 64)
	l.Deliveries, errs[1] = strconv.ParseUint(h.Get(headDeliveries), 10, 64)
	l.GivenUp, errs[2] = time.Parse(time.RFC3339Nano, h.Get(headGivenUp))
	if t := h.Get(headTime); t != "" {
		l.Time, errs[3] = time.Parse(time.RFC3339Nano, t)
	}
	if err := errors.Join(errs[:]...); err != nil || l.subject() != m.Subject {
		return l, fmt.Errorf("stream %s: message %d is not a letter: somebody else published it on %s", Stream, m.Sequence, m.Subject)
	}
	for name, values := range h {
		if was, ok := strings.CutPrefix(name, headOriginal); ok {
			l.Header[was] = values
		} else if !reserved(name) {
			l.Header[name] = values
		}
	}
	return l, nil
}
