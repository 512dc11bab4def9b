package main

import (
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
events, one JSON object after another. Each is answered with its stream and sequence there, when it is stored.`

func pub(c *cli.Context) error {
	subject, texts, err := pubArguments(c)
	if err != nil {
		return err
	}
	return withRemote(func(c *cli.Context, r *remote) error { return publish(c, r, subject, texts) })(c)
}

func publish(c *cli.Context, r *remote, subject string, texts func() (json.RawMessage, error)) error {
	if err := captured(c.Context, r, subject); err != nil {
		return err
	}
	p, err := event.NewPublisher(r.nc)
	if err != nil {
		return unreachable(r.nc.ConnectedUrl(), err)
	}
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	futures := make(chan sent, 10_000)
	answered := make(chan error, 1)
	go func() {
		err := writeAcks(c, futures)
		cancel() // there is no use in publishing more
		answered <- err
	}()
	n, err := publishAll(ctx, c, p, subject, texts, futures)
	close(futures)
	failed := <-answered
	if failed == nil && err != nil && n > 0 {
		err = fmt.Errorf("%w; %s before it", err, count(n, "event"))
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), c.Duration("timeout"))
	defer stop()
	closed := p.Close(last)
	return errors.Join(firstOf(failed, err), closed)
}

// sent is an event under way.
type sent struct {
	event.Event
	*event.Future
}

// pubArguments are the subject and what reads the events' texts, which ends with io.EOF.
func pubArguments(c *cli.Context) (subject string, next func() (json.RawMessage, error), err error) {
	args := c.Args().Slice()
	file := c.String("file")
	switch {
	case len(args) == 0:
		return "", nil, misuse("pub names no subject: deltran-bus pub SUBJECT [DATA]")
	case len(args) > 2:
		return "", nil, misuse("pub takes a subject and data, and got %q too; in a shell JSON stands in single quotes", args[2])
	case len(args) == 2 && file != "":
		return "", nil, misuse("--file and DATA do not go together")
	case c.Int("count") < 1:
		return "", nil, misuse("--count %d is not a number of events", c.Int("count"))
	case c.Float64("rate") < 0:
		return "", nil, misuse("--rate %v is not a number of events a second", c.Float64("rate"))
	case len(args) == 2 && args[1] != "-":
		texts := []json.RawMessage{json.RawMessage(args[1])}
		return args[0], func() (json.RawMessage, error) {
			if len(texts) == 0 {
				return nil, io.EOF
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
	decoder := json.NewDecoder(in)
	return args[0], func() (json.RawMessage, error) {
		return unless(c.Context, func() (text json.RawMessage, err error) { err = decoder.Decode(&text); return })
	}, nil
}

// publishAll publishes what there is to read, and says how many those were.
func publishAll(ctx context.Context, c *cli.Context, p *event.Publisher, subject string, next func() (json.RawMessage, error), futures chan<- sent) (n int, err error) {
	var pause time.Duration
	if r := c.Float64("rate"); r > 0 {
		pause = time.Duration(float64(time.Second) / r)
	}
	begin := time.Now()
	for {
		text, err := next()
		if errors.Is(err, io.EOF) {
			if n == 0 {
				return 0, errors.New("there is no event to publish")
			}
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("event %d: not JSON: %w", n+1, err)
		}
		for range c.Int("count") {
			e, err := envelope(c, subject, text)
			if err != nil {
				return n, fmt.Errorf("event %d: %w", n+1, err)
			}
			select {
			case <-ctx.Done():
				return n, ctx.Err()
			case <-time.After(time.Until(begin.Add(time.Duration(n) * pause))):
			}
			f, err := p.PublishAsync(ctx, subject, e)
			if err != nil {
				return n, err
			}
			futures <- sent{e, f}
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
		return event.Event{}, misuse("%s does not say what type its events are of; say it with --type ENTITY.ACTION", subject)
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

// writeAcks prints where each event is stored, and ends with the first that is not.
func writeAcks(c *cli.Context, futures <-chan sent) error {
	enc := json.NewEncoder(c.App.Writer)
	var failed error
	for f := range futures {
		ack, err := f.Ack()
		if failed = firstOf(failed, err); err != nil {
			continue
		}
		if c.Bool("json") {
			err = enc.Encode(published{ack.Stream, ack.Sequence, ack.Duplicate, f.ID})
		} else {
			note := ""
			if ack.Duplicate {
				note = "  there already"
			}
			_, err = fmt.Fprintf(c.App.Writer, "%s #%d  %s%s\n", ack.Stream, ack.Sequence, f.ID, note)
		}
		failed = firstOf(failed, err)
	}
	return failed
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
