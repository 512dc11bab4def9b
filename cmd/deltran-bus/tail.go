package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/event"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
)

func tailFlags() []cli.Flag {
	return remoteFlags(
		&cli.IntFlag{Name: "last", Aliases: []string{"n"}, Usage: "begin with the last `N` events", DefaultText: "10, if nothing else says where to begin"},
		&cli.StringFlag{Name: "since", Usage: "begin with the events of the last `DURATION`, such as 1h or 7d, or since a time such as 2025-11-06T12:00:00Z"},
		&cli.StringFlag{Name: "correlation", Usage: "only events with the correlation_id `UUID`, from the first one on"},
		&cli.BoolFlag{Name: "no-follow", Usage: "end with the events that there are, and do not wait for more"},
	)
}

const tailAbout = `Follows streams, or subjects that may have wildcards, or everything if none is named: what is there already in
the order of its time, and then what comes. It leaves no consumer behind, and acknowledges nothing.`

// tailing is what tail is asked for.
type tailing struct {
	last        int
	since       time.Time
	correlation string
	follow      bool
}

func tail(c *cli.Context) error {
	ask, err := askTail(c, time.Now())
	if err != nil {
		return err
	}
	return withRemote(func(c *cli.Context, r *remote) error { return show(c, r, ask) })(c)
}

func show(c *cli.Context, r *remote, ask tailing) error {
	ctx, cancel := untilUnread(c.Context, c.App.Writer)
	defer cancel()
	err := showUntil(ctx, c, r, ask)
	if ctx.Err() != nil || errors.Is(err, syscall.EPIPE) { // that is how one ends it
		return nil
	}
	return err
}

// untilUnread ends when nobody reads w any more, as with | head -1. Writes there fail then, and kill nobody.
func untilUnread(ctx context.Context, w io.Writer) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signal.Ignore(syscall.SIGPIPE)
	if f, ok := w.(*os.File); ok {
		go func() { // until the process ends
			if unread(f) {
				cancel()
			}
		}()
	}
	return ctx, cancel
}

func showUntil(ctx context.Context, c *cli.Context, r *remote, ask tailing) error {
	sources, err := tailed(ctx, r.js, c.Args().Slice())
	if err != nil {
		return err
	}
	var feeds feeds
	defer func() {
		if r.nc.IsConnected() {
			feeds.close(min(c.Duration("timeout"), 2*time.Second))
		}
	}()
	for _, s := range sources {
		f, err := r.read(ctx, s, ask)
		if err != nil {
			return noJetStream(err)
		}
		feeds = append(feeds, &feed{reader: f})
	}
	write := eventWriter(c.App.Writer, c.Bool("json"))
	_, err = unless(ctx, func() (struct{}, error) { // for a consumer that makes itself anew listens to nobody
		err := feeds.history(ctx, ask, write)
		if err == nil && ask.follow {
			err = feeds.follow(ctx, ask, write)
		}
		return struct{}{}, err
	})
	return err
}

// read opens a stream, with a consumer where one is to be had. Whoever may not make the first one is not tried with others.
func (r *remote) read(ctx context.Context, s source, ask tailing) (reader, error) {
	if !s.queue && !r.noConsumers {
		var c *consuming
		err := r.attempt(ctx, "$JS.API.CONSUMER.CREATE.", func(ctx context.Context) (err error) {
			c, err = consume(ctx, r.js, s, ask)
			return err
		})
		var answer *jetstream.APIError
		switch {
		case errors.Is(err, nats.ErrPermissionViolation):
			r.noConsumers = true
		case !errors.As(err, &answer): // JetStream's refusal is about this stream, which may have its fill of consumers
			return c, err
		}
	}
	return newAsking(ctx, r.nc, s, ask)
}

func askTail(c *cli.Context, now time.Time) (ask tailing, err error) {
	ask = tailing{last: c.Int("last"), correlation: c.String("correlation"), follow: !c.Bool("no-follow")}
	since := c.String("since")
	switch {
	case c.IsSet("correlation") && !isUUID(ask.correlation): // which no event has
		return ask, misuse("--correlation %q is not a UUID such as 11111111-2222-3333-4444-555555555555", ask.correlation)
	case c.IsSet("last") && ask.last < 0:
		return ask, misuse("--last %d is not a number of events", ask.last)
	case since != "" && c.IsSet("last"):
		return ask, misuse("--last and --since both say where to begin; take one")
	case since != "":
		if ask.since, err = time.Parse(time.RFC3339, since); err == nil && ask.since.After(now) {
			return ask, misuse("--since %s is still to come", since)
		} else if err == nil {
			break
		}
		d, err := config.ParseDuration(since)
		if err != nil || d <= 0 {
			return ask, misuse("--since %q is neither a duration such as 1h or 7d nor a time such as 2025-11-06T12:00:00Z", since)
		}
		ask.since = now.Add(-d)
	case !c.IsSet("last") && ask.correlation == "":
		ask.last = 10
	case !c.IsSet("last"):
		ask.last = -1 // all
	}
	if since != "" {
		ask.last = -1
	}
	return ask, nil
}

// isUUID says what an event may have as its correlation_id.
func isUUID(s string) bool {
	e, err := event.New("a.b", "tail", nil)
	e.Metadata.CorrelationID = s
	return err == nil && s != "" && e.Validate() == nil
}

// source is a stream, and what of it is wanted.
type source struct {
	stream string
	words  []string // the subjects that are wanted; none: all
	queue  bool     // a work queue
}

// tailed finds the streams that words on the command line mean.
func tailed(ctx context.Context, js jetstream.JetStream, words []string) (out []source, err error) {
	have := map[string]jetstream.StreamConfig{}
	list := js.ListStreams(ctx)
	for s := range list.Info() {
		have[s.Config.Name] = s.Config
	}
	if err := list.Err(); err != nil {
		return nil, noJetStream(err)
	}
	if len(have) == 0 {
		return nil, errors.New("there are no streams")
	}
	want := map[string][]string{} // by stream; nil: all
	if len(words) == 0 {
		for name := range have {
			want[name] = nil
		}
	}
	for _, w := range words {
		if _, ok := have[w]; ok {
			want[w] = nil
			continue
		}
		found := false
		for name, s := range have {
			if all, there := want[name]; slices.ContainsFunc(s.Subjects, func(p string) bool { return natsserver.SubjectsCollide(p, w) }) {
				found = true
				if !there || all != nil {
					want[name] = append(all, w)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is not a stream, and no stream has such a subject%s", w, nearestWord(w, have))
		}
	}
	for name, subjects := range want {
		out = append(out, source{name, subjects, have[name].Retention == jetstream.WorkQueuePolicy})
	}
	slices.SortFunc(out, func(a, b source) int { return strings.Compare(a.stream, b.stream) })
	return out, nil
}

func nearestWord(w string, have map[string]jetstream.StreamConfig) string {
	var words []string
	for name, s := range have {
		words = append(append(words, name), s.Subjects...)
	}
	slices.Sort(words)
	if s := nearestSubject(w, words); s != "" {
		return fmt.Sprintf("; the nearest is %q", s)
	}
	return ""
}
