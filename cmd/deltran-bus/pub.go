package main

import (
	"bufio"
	"bytes"
	"cmp"
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

func pubFlags() []cli.Flag {
	return remoteFlags(
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "publish the events in `FILE`, one JSON object after another; - is stdin"},
		&cli.StringFlag{Name: "type", Usage: "event_type (default: what belongs on the subject)"},
		&cli.StringFlag{Name: "source", Value: "deltran-bus pub", Usage: "source"},
		&cli.StringFlag{Name: "correlation", Usage: "metadata.correlation_id, a `UUID`"},
		&cli.StringFlag{Name: "user", Usage: "metadata.user_id, a `UUID`"},
		&cli.IntFlag{Name: "count", Value: 1, Usage: "publish `N` times, each time with an id of its own"},
		&cli.Float64Flag{Name: "rate", Usage: "`N` events a second at most"},
	)
}

const pubAbout = `DATA is the event's data, a JSON object; what else an envelope has is filled in. An object with an event_id or an
event_type is an envelope itself, and what it leaves out is filled in. Without DATA, or with -, stdin has
events, one JSON object after another. Each is answered with its stream and sequence there, when it is stored. When
the connection is lost, pub waits for another for as long as --timeout says.`

func pub(c *cli.Context) error {
	subject, texts, err := pubArguments(c)
	if err != nil {
		return err
	}
	return withRemote(func(c *cli.Context, r *remote) error { return publish(c, r, subject, texts) })(c)
}

// publish ends reading at the first event that fails, at a signal, or when the connection is lost for too long. What is
// under way then has its result awaited: at a signal for a moment, and without a connection not at all.
func publish(c *cli.Context, r *remote, subject string, next func(context.Context) (input, error)) error {
	if err := captured(c.Context, r, subject); err != nil {
		return err
	}
	waiting, giveUp := context.WithCancelCause(context.WithoutCancel(c.Context))
	defer giveUp(nil)
	reading, stop := context.WithCancelCause(c.Context)
	defer stop(nil)
	p, err := event.NewPublisher(r.nc, event.OnConnection(patiently(c, giveUp)))
	if err != nil {
		return unreachable(r.nc.ConnectedUrl(), err)
	}
	defer context.AfterFunc(c.Context, func() { time.AfterFunc(lastMoment, func() { giveUp(context.Canceled) }) })()
	defer context.AfterFunc(waiting, func() { stop(context.Cause(waiting)); _ = p.Close(waiting) })()
	defer context.AfterFunc(reading, p.Stop)()
	futures := make(chan sent, 10_000)
	var unread error
	go func() {
		defer close(futures)
		unread = publishAll(reading, c, p, subject, next, futures)
	}()
	o := writeAcks(c, futures, stop)
	why := cmp.Or(unread, context.Cause(waiting))
	if o.back > 0 {
		why = cmp.Or(why, context.Cause(reading))
	}
	if waiting.Err() == nil { // all have their result
		err = p.Close(waiting)
	}
	return cmp.Or(o.verdict(why), err)
}

const lastMoment = 500 * time.Millisecond // for the answers to what is under way at a signal

// patiently tells of a connection that is lost, and gives up when there is no other for as long as --timeout says.
func patiently(c *cli.Context, giveUp context.CancelCauseFunc) func(error) {
	timeout := c.Duration("timeout")
	var alarm *time.Timer
	return func(lost error) {
		if lost == nil {
			alarm.Stop()
			fmt.Fprintln(c.App.ErrWriter, "deltran-bus: connected again, and going on")
			return
		}
		fmt.Fprintf(c.App.ErrWriter, "deltran-bus: the connection is lost; waiting for another, %v at most (--timeout)\n", timeout)
		alarm = time.AfterFunc(timeout, func() {
			giveUp(fmt.Errorf("the connection is lost, and there was no other for %v (--timeout)", timeout))
		})
	}
}

// input is an event as it is read, and the line on which it begins; 0: it comes from no lines.
type input struct {
	text json.RawMessage
	line int
}

// place is where an event stands in the input, from 1, and which time of how many it is published.
type place struct{ number, line, time, times int }

func (p place) String() string {
	s := fmt.Sprintf("event %d", p.number)
	if p.line > 0 {
		s += fmt.Sprintf(", line %d", p.line)
	}
	if p.times > 1 {
		s += fmt.Sprintf(", time %d of %d", p.time, p.times)
	}
	return s
}

// misfit is what keeps an event from being stored.
type misfit struct {
	place
	error
}

func (m misfit) Error() string { return m.place.String() + ": " + m.error.Error() }
func (m misfit) Unwrap() error { return m.error }

// sent is an event under way.
type sent struct {
	place
	event.Event
	*event.Future
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

// publishAll publishes what there is to read.
func publishAll(ctx context.Context, c *cli.Context, p *event.Publisher, subject string, next func(context.Context) (input, error), futures chan<- sent) error {
	var pause time.Duration
	if r := c.Float64("rate"); r > 0 {
		pause = time.Duration(float64(time.Second) / r)
	}
	begin := time.Now()
	n := 0
	for at := (place{number: 1, times: c.Int("count")}); ; at.number++ {
		in, err := next(ctx)
		at.line = in.line
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF) && n == 0:
			return errors.New("there is no event to publish")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return misfit{at, fmt.Errorf("not JSON: %w", err)}
		}
		for at.time = 1; at.time <= at.times; at.time++ {
			e, err := envelope(c, subject, in.text)
			if err != nil {
				return misfit{at, err}
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Until(begin.Add(time.Duration(n) * pause))):
			}
			f, err := p.PublishAsync(ctx, subject, e)
			if ctx.Err() != nil && err != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return misfit{at, fmt.Errorf("%s: %w", e.ID, err)}
			}
			futures <- sent{at, e, f}
			n++
		}
	}
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

// published is what pub --json prints, a line for each event.
type published struct {
	Stream    string `json:"stream"`
	Sequence  uint64 `json:"sequence"`
	Duplicate bool   `json:"duplicate"`
	ID        string `json:"event_id"`
}

// outcome is what became of the events that were published.
type outcome struct {
	before    int   // are stored, before the first that failed
	behind    int   // are stored although they are behind it: they were under way
	last      place // of those
	uncertain int   // of others it is not known
	first     sent  // of those
	back      int   // were not sent any more
	failed    error // what befell the first that is not stored, or the answer to one
}

// writeAcks prints where each event is stored, and stops the reading with the first that is not.
func writeAcks(c *cli.Context, futures <-chan sent, stop context.CancelCauseFunc) (o outcome) {
	enc := json.NewEncoder(c.App.Writer)
	for f := range futures {
		ack, err := f.Ack()
		switch {
		case err == nil && o.failed == nil:
			o.before++
		case err == nil:
			o.behind++
			o.last = f.place
		case errors.Is(err, event.ErrUncertain) && (o.failed != nil || errors.Is(err, event.ErrClosed)):
			if o.uncertain++; o.uncertain == 1 {
				o.first = f
			}
			continue
		case errors.Is(err, event.ErrClosed): // it was given up, and has not failed
			o.back++
			continue
		default:
			err = misfit{f.place, fmt.Errorf("%s: %w", f.ID, err)}
		}
		if err == nil && c.Bool("json") {
			err = enc.Encode(published{ack.Stream, ack.Sequence, ack.Duplicate, f.ID})
		} else if err == nil {
			note := ""
			if ack.Duplicate {
				note = "  there already"
			}
			_, err = fmt.Fprintf(c.App.Writer, "%s #%d  %s%s\n", ack.Stream, ack.Sequence, f.ID, note)
		}
		if err != nil && o.failed == nil {
			o.failed = err
			stop(err) // there is no use in publishing more
		}
	}
	return o
}

// verdict is why it ended, and what there is to know before one goes on behind it.
func (o outcome) verdict(why error) error {
	why = cmp.Or(o.failed, why)
	where := ""
	switch m := (misfit{}); {
	case why == nil:
		return nil
	case errors.Is(why, context.Canceled):
		why = errors.New("interrupted")
	case errors.As(why, &m):
		where = " before it"
		fallthrough
	default:
		if o.before+o.behind+o.uncertain == 0 {
			return why
		}
	}
	is := func(n int, one, more string) string {
		if n == 1 {
			return one
		}
		return more
	}
	why = fmt.Errorf("%w; %s%s %s stored", why, count(o.before, "event"), where, is(o.before, "is", "are"))
	if o.behind > 0 {
		why = fmt.Errorf("%w; %s behind it %s under way already, and %s stored too, the last is %s", why, count(o.behind, "event"), is(o.behind, "was", "were"), is(o.behind, "is", "are"), o.last)
	}
	if o.uncertain > 0 {
		why = fmt.Errorf("%w; of %d more it is not known, the first is %s: %s; published with the same event_id within the stream's duplicate_window it is stored once",
			why, o.uncertain, o.first.place, o.first.ID)
	}
	return why
}
