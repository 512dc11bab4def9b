package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// seen is what tail --json prints, a line for each event.
type seen struct {
	Stream   string          `json:"stream"`
	Sequence uint64          `json:"sequence"`
	Time     time.Time       `json:"time"` // when it was stored
	Subject  string          `json:"subject"`
	Header   nats.Header     `json:"header,omitempty"`
	Event    json.RawMessage `json:"event,omitempty"`   // as it was published
	Payload  []byte          `json:"payload,omitempty"` // in base64: what is not a valid event
	Invalid  string          `json:"invalid,omitempty"` // why not
}

// eventWriter writes a line for each.
func eventWriter(w io.Writer, asJSON bool) func(*entry) error {
	enc := newEncoder(w)
	return func(e *entry) error {
		if !asJSON {
			_, err := fmt.Fprintln(w, e.line())
			return err
		}
		s := seen{Stream: e.stream, Sequence: e.sequence, Time: e.time.UTC(), Subject: e.subject, Header: e.header}
		if e.invalid == nil {
			s.Event = e.data
		} else {
			s.Payload, s.Invalid = e.data, e.invalid.Error()
		}
		return enc.Encode(s)
	}
}

// line is an event for people: when it was stored, where, what, by whom, its data, what connects it.
func (e *entry) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s #%d  %s  ", e.time.UTC().Format("2006-01-02T15:04:05.000Z"), e.stream, e.sequence, printable(e.subject))
	if e.invalid != nil {
		fmt.Fprintf(&b, "%s  (%s)", quoted(e.data), printable(e.invalid.Error()))
		return b.String()
	}
	var data bytes.Buffer
	_ = json.Compact(&data, e.event.Data) // it is JSON
	fmt.Fprintf(&b, "%s  %s  %s", e.event.Type, printable(e.event.Source), printable(oneLine(data.String())))
	if id := e.event.Metadata.CorrelationID; id != "" {
		b.WriteString("  correlation " + id)
	}
	if id := e.event.Metadata.UserID; id != "" {
		b.WriteString("  user " + id)
	}
	return b.String()
}

const longestData = 1000 // bytes on a line

func oneLine(s string) string {
	if len(s) <= longestData {
		return s
	}
	n := longestData
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func quoted(b []byte) string {
	if len(b) > longestData/4 {
		return fmt.Sprintf("%q…", b[:longestData/4])
	}
	return fmt.Sprintf("%q", b)
}
