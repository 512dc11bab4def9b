package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/urfave/cli/v2"
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
