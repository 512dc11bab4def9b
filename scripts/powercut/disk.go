package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/witness"
)

// disk is the subcommand for real file systems: on a loop device, by the kernel's own emergency stop, which writes nothing
// more to the device.
func (s *settings) disk(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("powercut disk", flag.ContinueOnError)
	kinds := flags.String("fs", "ext4,xfs", "the file `systems` to try")
	s.common(flags)
	flags.IntVar(&s.cuts, "cuts", 5, "cuts of each")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.work == "" {
		s.work = os.TempDir() // an image in memory is not what is asked for
	}
	done, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	defer done()
	stock, err := s.stockServer(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, kind := range strings.Split(*kinds, ",") {
		line, err := s.onDisk(ctx, kind, stock)
		var cannot notHere
		switch {
		case errors.As(err, &cannot):
			fmt.Fprintf(s.out, "powercut: %s: NOT RUN: %v\n", kind, err)
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", kind, err))
		default:
			fmt.Fprintf(s.out, "powercut: %s: %s\n", kind, line)
		}
	}
	return errors.Join(errs...)
}

// notHere is a reason why this machine cannot do it.
type notHere struct{ error }

// onDisk cuts the bus, each time going on from what was left, and then stock once.
func (s *settings) onDisk(ctx context.Context, kind string, stock server) (string, error) {
	t, err := s.cutDisk(ctx, kind, s.ours(), s.cuts)
	if err != nil {
		return "", err
	}
	s.tell(kind, t)
	if len(t.failed) > 0 {
		return "", fmt.Errorf("%d of %d cuts are not as they have to be", len(t.failed), t.cuts)
	}
	theirs, err := s.cutDisk(ctx, kind, stock, 1)
	switch {
	case err != nil:
		return "", err
	case theirs.lost == 0:
		return "", errStockKept
	}
	return fmt.Sprintf("%d cuts: %s acknowledged, %s lost; stock nats-server lost %s of %s as expected", t.cuts,
		comma(t.acknowledged), comma(t.lost), comma(theirs.lost), comma(theirs.looked)), nil
}

func (s *settings) cutDisk(ctx context.Context, kind string, srv server, cuts int) (t *tally, err error) {
	d, err := newDisk(ctx, s.work, kind)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	r := rand.New(rand.NewPCG(s.seed, 2))
	w := witness.New(s.streams(srv), nil)
	t = &tally{begun: time.Now()}
	for i := range cuts {
		load := time.Duration(r.Int64N(int64(s.load)))
		err := s.underLoad(ctx, w, func() (*busproc.Bus, error) { return srv.start(ctx, d.store()) }, load, d.cut)
		if err != nil {
			return nil, err
		}
		if err := d.again(ctx); err != nil {
			return nil, err
		}
		res, err := s.look(ctx, w, srv, d.store(), witness.Now, false)
		if err != nil {
			return nil, err
		}
		t.cuts++
		t.add(fmt.Sprintf("%s on %s, cut %d after %s of load", srv.name, kind, i+1, load.Round(time.Millisecond)), res)
		if len(t.failed) > 0 {
			break
		}
	}
	t.acknowledged = w.Acknowledged(witness.Now)
	return t, nil
}
