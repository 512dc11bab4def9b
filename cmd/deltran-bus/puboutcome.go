package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/deltran/deltran-bus/event"
	"github.com/urfave/cli/v2"
)

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
