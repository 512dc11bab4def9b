package main

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
)

// A scenario is one thing that is measured, and one row of the tables.
type scenario struct {
	group, name      string
	required, inside *limit                                  // of the binary, and in process; nil: none
	library          bool                                    // can be measured in process too
	slow             bool                                    // is taken in every third round only
	prepare          func(ctx context.Context, w *way) error // before all rounds; nil: nothing
	take             func(ctx context.Context, w *way) (float64, error)
	found            map[string]series // by the name of the way
}

// settings are the flags of compare.
type settings struct {
	rounds        int
	load          bound         // of one publishing
	taken, stored int           // messages
	settle        time.Duration // before memory is read
	age           time.Duration // of what is stored, before a restart: older than the duplicate window
	quick         bool
	cases         *regexp.Regexp
}

const (
	publishing = "Publish, acknowledged messages a second"
	consuming  = "Consume with explicit acks, messages a second"
	restarting = "Restart until a client is told of all messages, milliseconds"
	using      = "Memory and size, MB"
)

// scenarios are all that the settings choose, in the order of the tables. work is the folder to measure in.
func scenarios(set settings, work string) []*scenario {
	var all []*scenario
	for _, sync := range []string{"2m", "always"} {
		for _, size := range []int{256, 1024} {
			for _, l := range []load{{1, false, size}, {8, false, size}, {64, false, size}, {256, true, size}, {4000, true, size}} {
				s := &scenario{group: publishing, name: fmt.Sprintf("%s, sync %s", l, sync), required: ratioFrom(0.97), library: true}
				if l.inFlight == 1 && sync == "2m" { // with always the disk is measured, whatever the way to it
					s.inside = ratioFrom(4)
				}
				s.take = func(ctx context.Context, w *way) (float64, error) {
					return w.fresh(ctx, work, sync, func(_ *instance, nc *nats.Conn) (float64, error) {
						return l.rate(ctx, nc, set.load)
					})
				}
				all = append(all, s)
			}
		}
	}
	all = append(all, grouped(set, work)...)
	for _, r := range []received{10, 100, 1000, 0} {
		all = append(all, &scenario{group: consuming, name: fmt.Sprintf("%s, 256 B", r), required: ratioFrom(0.97), library: true,
			take: func(ctx context.Context, w *way) (float64, error) {
				return w.fresh(ctx, work, "2m", func(_ *instance, nc *nats.Conn) (float64, error) {
					if err := fill(ctx, nc, set.taken); err != nil {
						return 0, err
					}
					return r.rate(ctx, nc, set.taken)
				})
			}})
	}
	left := map[*way]*stores{}
	leave := func(ctx context.Context, w *way) (err error) {
		if left[w] == nil {
			left[w], err = w.leave(ctx, work, set.stored)
		}
		return err
	}
	again := func(which func(*stores) string) func(ctx context.Context, w *way) (float64, error) {
		return func(ctx context.Context, w *way) (float64, error) {
			time.Sleep(time.Until(left[w].made.Add(set.age)))
			return w.restart(ctx, work, which(left[w]), set.stored)
		}
	}
	stored := figure(float64(set.stored)) + " messages"
	all = append(all,
		&scenario{group: restarting, name: "stopped in order after " + stored, slow: true, prepare: leave,
			take: again(func(s *stores) string { return s.clean })},
		&scenario{group: restarting, name: "killed after " + stored, slow: true, prepare: leave,
			take: again(func(s *stores) string { return s.killed })},
		&scenario{group: using, name: "resident, idle with the layout", slow: true, required: moreBy(12),
			take: func(ctx context.Context, w *way) (float64, error) { return w.memory(ctx, work, 0, set.settle) }},
		&scenario{group: using, name: "resident, after " + stored, slow: true,
			take: func(ctx context.Context, w *way) (float64, error) { return w.memory(ctx, work, set.stored, set.settle) }},
		&scenario{group: using, name: "binary, stripped", required: ratioTo(1.5),
			take: func(_ context.Context, w *way) (float64, error) { return w.size() }},
	)
	chosen := all[:0]
	for _, s := range all {
		if s.found = map[string]series{}; set.cases.MatchString(s.group + ": " + s.name) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}
