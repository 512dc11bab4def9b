package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/lossyfs"
	"github.com/deltran/deltran-bus/scripts/internal/witness"
)

const (
	cutsPerLife   = 10 // of one record
	livesPerStore = 5  // each goes on from a cut of the one before
)

// streams are those that are published to.
func (s *settings) streams(srv server) []witness.Stream {
	streams := witness.Streams(srv.declares, s.heavy)
	if !s.own {
		return witness.Declared(streams)
	}
	return streams
}

// cutAtRandom runs servers under load, cuts each run at random moments and goes on from one of them.
func (s *settings) cutAtRandom(ctx context.Context, srv server, cuts int) (*tally, error) {
	t := &tally{begun: time.Now()}
	r := rand.New(rand.NewPCG(s.seed, 1))
	var w *witness.Witness
	var base *lossyfs.Tree
	until := 0
	for n := 0; t.cuts < cuts; n++ {
		if n%livesPerStore == 0 {
			w, base, until = witness.New(s.streams(srv), nil), nil, 0
		}
		known := 0
		l, err := s.live(ctx, srv, w, base, until, func(start func() (*busproc.Bus, error)) error {
			known = w.Acknowledged(witness.Now)
			return s.underLoad(ctx, w, start, time.Duration(r.Int64N(int64(s.load))), (*busproc.Bus).Kill)
		})
		if err != nil {
			return nil, err
		}
		t.acknowledged += w.Acknowledged(witness.Now) - known
		t.unkept = lossyfs.Unkept(l.base, l.ops)
		var some []cut
		for i := range min(cutsPerLife, cuts-t.cuts) {
			after := r.IntN(len(l.ops) + 1)
			c := s.random(l, after, r.Uint64())
			if i%4 == 0 {
				c = s.worst(l, after)
			}
			c.drain = (i == 0 || s.drain) && srv.declares
			some = append(some, c)
		}
		t.cuts += len(some)
		bad := len(t.failed)
		if err := s.checkAll(ctx, l, some, t); err != nil {
			return nil, err
		}
		if len(t.failed) > bad {
			n = livesPerStore - 1 // what follows would only tell the same again
			continue
		}
		last := slices.MaxFunc(some, func(a, b cut) int { return a.after - b.after })
		base, until = last.disk, last.after
	}
	return t, nil
}

// underLoad runs one server for so long under load, and ends it while that goes on.
func (s *settings) underLoad(ctx context.Context, w *witness.Witness, start func() (*busproc.Bus, error), long time.Duration, end func(*busproc.Bus) error) error {
	b, err := start()
	if err != nil {
		return err
	}
	defer func() { _ = b.Kill() }()
	js, err := b.JetStream()
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	if err := w.Create(ctx, js); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Load(ctx, b.Client) }()
	select {
	case err := <-ended:
		return fmt.Errorf("the load ended by itself: %v\n%s", err, b.Stderr())
	case <-time.After(long):
	case <-ctx.Done():
	}
	if err := end(b); err != nil {
		return err
	}
	if err := <-ended; err != nil {
		return err
	}
	return ctx.Err()
}
