package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/deadletter"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
)

// redriveJSON is what redrive --json prints.
type redriveJSON struct {
	DryRun   bool          `json:"dry_run"`
	Redriven []movedJSON   `json:"redriven"` // or would be
	Left     []failureJSON `json:"left"`     // that could not be
}

type movedJSON struct {
	Letter   string `json:"letter"`
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence,omitempty"` // its new one
	Subject  string `json:"subject"`
}

type failureJSON struct {
	Letter string `json:"letter"`
	Why    string `json:"why"`
}

// someChosen is the choice of a command that changes something: it never means everything by saying nothing.
func someChosen(c *cli.Context) (choice, error) {
	ch, err := chosen(c, time.Now())
	if err == nil && !ch.some {
		err = misuse("which letters? %s, --consumer STREAM/CONSUMER, --since, --until, or --all", lettersUsage)
	}
	return ch, err
}

// redriveLetters looks first where all of them would go, and then sends them.
func redriveLetters(c *cli.Context, r *remote) error {
	ch, err := someChosen(c)
	if err != nil {
		return err
	}
	if rate := c.Float64("rate"); !(rate >= 0) {
		return misuse("--rate %v is no number of letters a second", rate)
	}
	ls, err := deadletter.Open(c.Context, r.js)
	if err != nil {
		return noJetStream(err)
	}
	out := redriveJSON{DryRun: c.Bool("dry-run"), Redriven: []movedJSON{}, Left: []failureJSON{}}
	ahead, err := lookAhead(c, r.js, ch, ls, &out)
	if err != nil {
		return err
	}
	text := !c.Bool("json")
	if !out.DryRun {
		out.Redriven = []movedJSON{}
		pace := newPace(c.Float64("rate"))
		defer pace.stop()
		for _, l := range ahead {
			ack, err := sendAgain(c, ls, l, pace)
			if errors.Is(err, deadletter.ErrNone) { // somebody else was quicker
				continue
			}
			if errors.Is(err, deadletter.ErrUnclear) {
				out.Left = append(out.Left, failureJSON{l.ID.String(), err.Error() + "; --perhaps-twice sends it"})
				continue
			}
			if err != nil {
				return fmt.Errorf("%w; %d of %d are redriven", err, len(out.Redriven), len(ahead))
			}
			out.Redriven = append(out.Redriven, movedJSON{l.ID.String(), ack.Stream, ack.Sequence, l.Subject})
			if text {
				fmt.Fprintf(c.App.Writer, "%s → %s %d\n", printable(l.ID.String()), ack.Stream, ack.Sequence)
			}
		}
	}
	for _, f := range out.Left {
		fmt.Fprintf(c.App.ErrWriter, "%s stays: %s\n", printable(f.Letter), printable(f.Why))
	}
	if !text {
		err = writeJSON(c.App.Writer, out)
	} else if out.DryRun {
		for _, m := range out.Redriven {
			fmt.Fprintf(c.App.Writer, "%s → %s, on %s\n", printable(m.Letter), m.Stream, printable(m.Subject))
		}
		fmt.Fprintf(c.App.ErrWriter, "%s would be redriven\n", count(len(out.Redriven), "letter"))
	} else {
		fmt.Fprintf(c.App.ErrWriter, "%s redriven\n", count(len(out.Redriven), "letter"))
	}
	if err == nil && len(out.Left) > 0 {
		err = fmt.Errorf("%s could not be redriven; dead-letters dismiss --reason erases what nothing can be done about", count(len(out.Left), "letter"))
	}
	return err
}

// sendAgain reads a letter as a whole, and redrives it.
func sendAgain(c *cli.Context, ls *deadletter.Letters, l deadletter.Letter, pace pace) (*jetstream.PubAck, error) {
	if err := pace.wait(c.Context); err != nil {
		return nil, err
	}
	whole, err := ls.Get(c.Context, strconv.FormatUint(l.Number, 10))
	if err != nil {
		return nil, err
	}
	return ls.Redrive(c.Context, whole, c.Bool("perhaps-twice"))
}

// asStored compares letters by when their messages were stored the first time: a consumer gives up on several at once in
// any order.
func asStored(a, b deadletter.Letter) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Number, b.Number))
}

// lookAhead says what would be done, and refuses what would reach consumers that have not given up, unless that is wanted.
// The letters come back without their payload, in the order in which they are to be sent.
func lookAhead(c *cli.Context, js jetstream.JetStream, ch choice, ls *deadletter.Letters, out *redriveJSON) (ahead []deadletter.Letter, err error) {
	type goal struct{ stream, consumer, subject string }
	goalOf := func(l deadletter.Letter) goal { return goal{l.ID.Stream, l.Consumer, l.Subject} }
	targets := map[goal]deadletter.Target{}
	others, gone := map[string]bool{}, map[string]bool{}
	for l, err := range ch.walk(c.Context, ls) {
		if err != nil {
			return nil, err
		}
		if l.Missing != "" {
			out.Left = append(out.Left, failureJSON{l.ID.String(), l.Missing})
			continue
		}
		t, seen := targets[goalOf(l)]
		if !seen {
			if t, err = ls.Target(c.Context, l); err != nil && !errors.Is(err, deadletter.ErrNoStream) {
				return nil, err
			}
			if len(t.Others) > 0 { // whoever looks with tail does nothing
				services, err := servicesOf(c.Context, js, t.Stream)
				if err != nil {
					return nil, err
				}
				t.Others = slices.DeleteFunc(t.Others, func(name string) bool { return !services[name] })
			}
			targets[goalOf(l)] = t
		}
		if t.Stream == "" { // of this one; the others can go
			out.Left = append(out.Left, failureJSON{l.ID.String(), fmt.Sprintf("%v: %s", deadletter.ErrNoStream, l.Subject)})
			continue
		}
		for _, name := range t.Others {
			others[t.Stream+"/"+name] = true
		}
		if t.Gone {
			gone[l.ID.Stream+"/"+l.Consumer] = true
		}
		l.Data, l.Header = nil, nil
		ahead = append(ahead, l)
	}
	slices.SortFunc(ahead, asStored)
	for _, l := range ahead {
		out.Redriven = append(out.Redriven, movedJSON{l.ID.String(), targets[goalOf(l)].Stream, 0, l.Subject})
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		fmt.Fprintf(c.App.ErrWriter, "consumer %s, which gave up, will not get it: it is gone, or wants other subjects\n", name)
	}
	if len(others) == 0 {
		return ahead, nil
	}
	list := strings.Join(slices.Sorted(maps.Keys(others)), ", ")
	switch {
	case out.DryRun:
		fmt.Fprintf(c.App.ErrWriter, "they would also reach %s; that needs --to-all\n", list)
	case !c.Bool("to-all"):
		return nil, fmt.Errorf("what is redriven reaches every consumer of its stream, and so would reach %s, who may have done with it; if they recognise events that they have seen: --to-all", list)
	}
	return ahead, nil
}

func dismissLetters(c *cli.Context, r *remote) error {
	ch, err := someChosen(c)
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(c.String("reason"))
	dry := c.Bool("dry-run")
	if reason == "" && !dry {
		return misuse("--reason is missing: the audit trail keeps why nothing was done")
	}
	ls, err := deadletter.Open(c.Context, r.js)
	if err != nil {
		return noJetStream(err)
	}
	done := []string{}
	for l, err := range ch.walk(c.Context, ls) {
		if err == nil && !dry {
			err = ls.Dismiss(c.Context, l, reason)
		}
		if err != nil {
			return fmt.Errorf("%w; %s dismissed", err, count(len(done), "letter"))
		}
		done = append(done, l.ID.String())
		if !c.Bool("json") {
			fmt.Fprintln(c.App.Writer, printable(l.ID.String()))
		}
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, struct {
			DryRun    bool     `json:"dry_run"`
			Dismissed []string `json:"dismissed"` // or would be
		}{dry, done})
	}
	word := "dismissed"
	if dry {
		word = "would be dismissed"
	}
	fmt.Fprintf(c.App.ErrWriter, "%s %s\n", count(len(done), "letter"), word)
	return nil
}
