package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// compare measures the bus, and the bus as a library, beside the nats-server of the same version with the same settings.
// Each sample is a process of its own on an empty store, killed by its id afterwards; in each round every case is taken
// from all of them one after the other, each time beginning with another one. What was acknowledged is counted and
// compared with what the stream then holds.
func compare(ctx context.Context, flags *flag.FlagSet, args []string) (err error) {
	set := settings{age: 125 * time.Second, settle: time.Second}
	flags.IntVar(&set.rounds, "rounds", 15, "how often everything is measured; what is slow, in every third round")
	flags.DurationVar(&set.load.time, "for", 250*time.Millisecond, "how long one load publishes at most")
	flags.IntVar(&set.load.messages, "messages", 100_000, "how many messages one load publishes at most")
	flags.IntVar(&set.taken, "consumed", 30_000, "how many messages are consumed")
	flags.IntVar(&set.stored, "stored", 1_000_000, "how many messages are in the stream for restart and memory")
	flags.BoolVar(&set.quick, "quick", false, "one round and few messages: only to see that it runs")
	cases := flags.String("cases", "", "measure only what matches the `regexp`, such as 'Publish.*: 1 in|Memory'")
	bus := flags.String("bus", "", "the `binary` to measure; without it, one is built from the working tree")
	bin := flags.String("bin", "bin", "`folder` for the programs that are built")
	dir := flags.String("dir", os.TempDir(), "`folder` on the disk to measure on")
	control := flags.Bool("control", false, "measure nats-server beside itself instead: what is seen when nothing differs")
	asJSON := flags.Bool("json", false, "print JSON, with every sample")
	markdown := flags.Bool("markdown", false, "print Markdown tables")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if set.cases, err = regexp.Compile("(?i)" + *cases); err != nil {
		return err
	}
	if set.quick {
		set.rounds, set.load, set.taken, set.stored = 1, bound{2000, 100 * time.Millisecond}, 2000, 20_000
		set.settle, set.age = 100*time.Millisecond, 0
	}
	work, err := os.MkdirTemp(*dir, "deltran-bus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	field, version, err := ways(ctx, *bus, *bin, work)
	if err != nil {
		return err
	}
	if *control {
		field[1] = &way{"nats-server again", field[0].binary, field[0].start}
	}
	r := &results{set: set, ways: field, nats: strings.TrimSpace(version), loads: []string{loadAverage()}}
	r.scenarios = scenarios(set, work)
	err = r.measure(ctx, work) // what was found until then is worth printing
	r.loads = append(r.loads, loadAverage())
	if *asJSON {
		return errors.Join(err, writeJSON(os.Stdout, r.json()))
	}
	for i, t := range r.tables() {
		if i > 0 {
			fmt.Println()
		}
		pick(*markdown, t.markdown, t.text)(os.Stdout)
	}
	return err
}

// measure takes every sample. One group is finished before the next: their loads disturb one another's disk.
func (r *results) measure(ctx context.Context, work string) error {
	for _, s := range r.scenarios {
		for _, w := range r.ways {
			if s.prepare != nil && w.binary != "" {
				if err := s.prepare(ctx, w); err != nil {
					return fmt.Errorf("%s: %s: %w", s.name, w.name, err)
				}
			}
		}
	}
	groups := map[string][]*scenario{}
	var order []string
	for _, s := range r.scenarios {
		if groups[s.group] == nil {
			order = append(order, s.group)
		}
		groups[s.group] = append(groups[s.group], s)
	}
	for _, group := range order {
		for round := range r.set.rounds {
			fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", group, round+1, r.set.rounds)
			disk, err := diskRate(work, bound{5000, r.set.load.time})
			if err != nil {
				return err
			}
			r.disk = append(r.disk, disk)
			for _, s := range groups[group] {
				if s.slow && round%3 != 0 {
					continue
				}
				if err := r.round(ctx, s, round); err != nil {
					return fmt.Errorf("%s: %s: %w", group, s.name, err)
				}
			}
		}
	}
	return nil
}

func (r *results) round(ctx context.Context, s *scenario, round int) error {
	for i := range r.ways {
		w := r.ways[(round+i)%len(r.ways)]
		if w.binary == "" && !s.library {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		one, err := s.take(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		s.found[w.name] = append(s.found[w.name], one)
	}
	return nil
}
