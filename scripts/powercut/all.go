package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/lossyfs"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
)

// ours is the bus as it comes.
func (s *settings) ours() server {
	return server{"deltran-bus", true, func(ctx context.Context, store string) (*busproc.Bus, error) {
		return busproc.Start(ctx, s.bus, "--store-dir", store)
	}}
}

// stockServer is nats-server as it comes.
func (s *settings) stockServer(ctx context.Context) (server, error) {
	binary, err := tools.NATSServer(ctx, s.bin)
	return server{"nats-server", false, func(ctx context.Context, store string) (*busproc.Bus, error) {
		return busproc.StartNATS(ctx, binary, store)
	}}, err
}

// all cuts the bus in both ways, and stock.
func (s *settings) all(ctx context.Context) error {
	fmt.Fprintf(s.out, "%s semantics, seed %d\n", s.semantics, s.seed)
	if s.semantics == lossyfs.Strict {
		return s.strict(ctx)
	}
	var errs []error
	var words []string
	acknowledged, lost := 0, 0
	for _, part := range []struct {
		what string
		want bool
		do   func() (*tally, error)
	}{
		{"random cuts", s.cuts > 0, func() (*tally, error) { return s.cutAtRandom(ctx, s.ours(), s.cuts) }},
		{"cuts after every operation", s.every, func() (*tally, error) { return s.cutEverywhere(ctx, s.ours()) }},
	} {
		if !part.want {
			continue
		}
		t, err := part.do()
		if err != nil {
			return err
		}
		s.tell(part.what, t)
		if len(t.failed) > 0 {
			errs = append(errs, fmt.Errorf("%s: %d of %d disks are not as they have to be", part.what, len(t.failed), t.disks))
		}
		words = append(words, comma(t.cuts)+" "+part.what)
		acknowledged += t.acknowledged
		lost += t.lost
	}
	line := fmt.Sprintf("powercut: %s: %s acknowledged, %s lost", strings.Join(words, ", "), comma(acknowledged), comma(lost))
	if s.stock {
		stock, err := s.stockServer(ctx)
		if err != nil {
			return err
		}
		t, err := s.cutAtRandom(ctx, stock, 10)
		switch {
		case err != nil:
			return err
		case t.lost == 0:
			errs = append(errs, errStockKept)
		default:
			line += fmt.Sprintf("; stock nats-server lost %s of %s as expected", comma(t.lost), comma(t.looked))
		}
	}
	fmt.Fprintln(s.out, line)
	return errors.Join(errs...)
}

var errStockKept = errors.New("a stock nats-server with its default sync lost nothing: this test cannot see a loss")

// strict measures; that something is lost is no failure, because the bus cannot help it all.
func (s *settings) strict(ctx context.Context) error {
	t, err := s.cutAtRandom(ctx, s.ours(), max(s.cuts, 1))
	if err != nil {
		return err
	}
	s.tell("random cuts", t)
	for _, p := range t.unkept {
		fmt.Fprintln(s.out, "not kept: "+p)
	}
	fmt.Fprintf(s.out, "powercut: on a file system that keeps a name only when its folder is synced: %d of %d disks as they have to be, %s of %s lost\n",
		t.disks-len(t.failed), t.disks, comma(t.lost), comma(t.looked))
	return nil
}
