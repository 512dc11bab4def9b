package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// input is an event as it is read, and the line on which it begins; 0: it comes from no lines.
type input struct {
	text json.RawMessage
	line int
}

// pubArguments are the subject and what reads the events' texts, which ends with io.EOF.
func pubArguments(c *cli.Context) (subject string, next func(context.Context) (input, error), err error) {
	args := c.Args().Slice()
	if len(args) == 0 {
		return "", nil, misuse("pub names no subject: deltran-bus pub SUBJECT [DATA]")
	}
	if err := event.CheckSubject(args[0]); err != nil {
		return "", nil, misuse("%q: %w", args[0], err)
	}
	file := c.String("file")
	switch {
	case len(args) > 2:
		return "", nil, misuse("pub takes a subject and data, and got %q too; in a shell JSON stands in single quotes", args[2])
	case len(args) == 2 && file != "":
		return "", nil, misuse("--file and DATA do not go together")
	case c.Int("count") < 1:
		return "", nil, misuse("--count %d is not a number of events", c.Int("count"))
	case c.Float64("rate") < 0:
		return "", nil, misuse("--rate %v is not a number of events a second", c.Float64("rate"))
	case len(args) == 2 && args[1] != "-":
		texts := []input{{text: json.RawMessage(args[1])}}
		return args[0], func(context.Context) (input, error) {
			if len(texts) == 0 {
				return input{}, io.EOF
			}
			text := texts[0]
			texts = nil
			return text, nil
		}, nil
	}
	in := c.App.Reader
	if file != "" && file != "-" {
		f, err := os.ReadFile(file)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", file, plainPath(err))
		}
		in = bytes.NewReader(f)
	} else if f, ok := in.(*os.File); ok && len(args) == 1 && file == "" && term.IsTerminal(int(f.Fd())) {
		return "", nil, misuse("pub has no data: deltran-bus pub %s '{…}', or - for stdin", args[0])
	}
	source := &lines{Reader: &unmarked{Reader: bufio.NewReader(in)}}
	decoder := json.NewDecoder(source)
	return args[0], func(ctx context.Context) (input, error) {
		return unless(ctx, func() (in input, err error) {
			if err = decoder.Decode(&in.text); err == nil {
				in.line = source.at(decoder.InputOffset() - int64(len(in.text)))
			} else if !errors.Is(err, io.EOF) { // where it begins: what is wrong may not have been seen before another line
				rest, _ := io.ReadAll(decoder.Buffered())
				in.line = source.at(decoder.InputOffset() + int64(len(rest)-len(bytes.TrimLeft(rest, " \t\r\n"))))
			}
			return in, err
		})
	}, nil
}

// unmarked leaves out the byte order mark that some editors put at the begin of UTF-8.
type unmarked struct {
	*bufio.Reader
	begun bool
}

func (u *unmarked) Read(b []byte) (int, error) {
	const mark = "\ufeff"
	if !u.begun {
		u.begun = true
		if first, _ := u.Peek(len(mark)); string(first) == mark {
			_, _ = u.Discard(len(mark))
		}
	}
	return u.Reader.Read(b)
}

// lines counts the lines of what is read through it.
type lines struct {
	io.Reader
	read   int64
	ends   []int64 // of lines that at has not come to
	passed int
}

func (l *lines) Read(b []byte) (int, error) {
	n, err := l.Reader.Read(b)
	for i, c := range b[:n] {
		if c == '\n' {
			l.ends = append(l.ends, l.read+int64(i))
		}
	}
	l.read += int64(n)
	return n, err
}

// at is the line of an offset, which must not be before the last one.
func (l *lines) at(offset int64) int {
	for len(l.ends) > 0 && l.ends[0] < offset {
		l.ends = l.ends[1:]
		l.passed++
	}
	return l.passed + 1
}

// envelope fills in what a text does not say.
func envelope(c *cli.Context, subject string, text json.RawMessage) (event.Event, error) {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(text, &has); err != nil || has == nil {
		return event.Event{}, fmt.Errorf("%s is not a JSON object", excerpt(text))
	}
	kind := c.String("type")
	if s, err := event.ParseSubject(subject); kind == "" && err == nil {
		kind = s.Type()
	}
	if kind == "" && has["event_type"] == nil {
		return event.Event{}, misuse("%q does not say what type its events are of; say it with --type ENTITY.ACTION", subject)
	}
	var e event.Event
	var err error
	if has["event_id"] == nil && has["event_type"] == nil {
		e, err = event.New(kind, c.String("source"), text)
	} else {
		filling, _ := event.New("a.b", c.String("source"), nil)
		b := bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(text), []byte("}")))
		for _, m := range []struct{ name, value string }{{"event_id", filling.ID}, {"event_type", kind}, {"timestamp", filling.Timestamp.Format(time.RFC3339Nano)},
			{"source", filling.Source}, {"version", filling.Version}} {
			if has[m.name] == nil {
				value, _ := json.Marshal(m.value)
				b = fmt.Appendf(b, ",%q:%s", m.name, value)
			}
		}
		if has["data"] == nil {
			b = append(b, `,"data":{}`...)
		}
		if e, err = event.Decode(append(b, '}')); err == nil && c.Int("count") > 1 {
			e.ID = filling.ID
		}
	}
	if v := c.String("correlation"); v != "" {
		e.Metadata.CorrelationID = v
	}
	if v := c.String("user"); v != "" {
		e.Metadata.UserID = v
	}
	if err == nil {
		err = e.Validate()
	}
	return e, err
}

func excerpt(b []byte) string {
	if len(b) > 60 {
		return fmt.Sprintf("%q…", b[:60])
	}
	return fmt.Sprintf("%q", b)
}
