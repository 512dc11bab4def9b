package main

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/witness"
	"github.com/nats-io/nats.go/jetstream"
)

// shortLife is everything once: a start on nothing, publishes to every stream, streams and consumers made by a client,
// acknowledgements, all that removes messages, a stop in order, a start on what is there, more of it, and the end.
func (s *settings) shortLife(ctx context.Context, srv server) (*life, error) {
	streams := witness.Streams(srv.declares, false)
	for i := range streams {
		streams[i].Window, streams[i].Writers = 1, 1
	}
	w := witness.New(streams, nil)
	return s.live(ctx, srv, w, nil, 0, func(start func() (*busproc.Bus, error)) error {
		b, err := start()
		if err != nil {
			return err
		}
		js, err := b.JetStream()
		if err != nil {
			return err
		}
		defer js.Conn().Close()
		if err := w.Create(ctx, js); err != nil {
			return err
		}
		if err := w.Publish(ctx, b.Client, 2); err != nil {
			return err
		}
		if err := w.Take(ctx, b.Client, 2); err != nil {
			return err
		}
		if err := removals(ctx, js); err != nil {
			return err
		}
		if err := b.Stop(); err != nil {
			return err
		}
		if b, err = start(); err != nil {
			return err
		}
		if err := w.Publish(ctx, b.Client, 2); err != nil {
			return err
		}
		return w.Take(ctx, b.Client, 3)
	})
}

// removals take messages away as operators do. A bus that misses them must not take that for a loss.
func removals(ctx context.Context, js jetstream.JetStream) error {
	for _, name := range []string{"PURGED", "DELETED"} {
		stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name})
		if err != nil {
			return err
		}
		for range 3 {
			if _, err := js.Publish(ctx, name, []byte("to be removed")); err != nil {
				return err
			}
		}
		if err := stream.DeleteMsg(ctx, 2); err != nil {
			return err
		}
		if name == "PURGED" {
			err = stream.Purge(ctx)
		} else {
			err = js.DeleteStream(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cutEverywhere cuts one short life after every operation: as when the process alone is killed there, as when everything goes
// that may go, or at random; in turns, or with thorough all three.
func (s *settings) cutEverywhere(ctx context.Context, srv server) (*tally, error) {
	l, err := s.shortLife(ctx, srv)
	if err != nil {
		return nil, err
	}
	t := &tally{begun: time.Now(), acknowledged: l.Acknowledged(witness.Now)}
	latest := map[[sha256.Size]byte]cut{} // of disks that are alike, the one that has to hold the most
	for after := range len(l.ops) + 1 {
		fates := []cut{s.worst(l, after), s.random(l, after, s.seed+uint64(after)), s.killed(l, after)}
		if !s.thorough {
			fates = fates[after%3:][:1]
		}
		for _, c := range fates {
			latest[c.disk.Hash()] = c
			t.cuts++
		}
	}
	return t, s.checkAll(ctx, l, slices.Collect(maps.Values(latest)), t)
}
