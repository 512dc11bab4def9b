package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// collecting is what makes dead letters while the bus runs.
type collecting struct {
	*deadletter.Collector
	as    config.DeadLetters
	login bool   // its connection is logged in; nats.go would never come back where that has changed
	stop  func() // ends it, and its connection
}

// collect starts it as the declaration says, and ends the one before if that was another.
func (b *bus) collect(cfg *config.Config) {
	want := cfg.DeadLetters
	want.Enabled = want.Enabled && b.captures(cfg)
	if now := b.collecting.Load(); now != nil {
		if now.as == want && now.login == b.srv.LoginRequired() {
			return
		}
		b.stopCollecting()
	}
	if !want.Enabled {
		return
	}
	nc, release, err := b.srv.ConnectOwn(nats.Name("deltran-bus dead letters"))
	if err != nil {
		b.log.Error("no dead letters are made", "error", err)
		return
	}
	js, err := jetstream.New(nc)
	if err != nil {
		release()
		b.log.Error("no dead letters are made", "error", err)
		return
	}
	c := &collecting{as: want, login: b.srv.LoginRequired(), Collector: deadletter.NewCollector(js, deadletter.Options{Log: b.log, MaxAge: want.MaxAge, MaxBytes: want.MaxBytes})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.c.Context))
	_ = c.Prepare(ctx) // before the bus says that it is ready, and the store is left alone; what fails is tried again
	done := make(chan struct{})
	c.stop = func() { cancel(); <-done; release() }
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			b.log.Warn("no dead letters are made", "error", err)
		}
	}()
	b.collecting.Store(c)
}

// captures reports whether AUDIT is declared to capture what there is to collect, and tells what it lacks.
func (b *bus) captures(cfg *config.Config) bool {
	i := slices.IndexFunc(cfg.Streams, func(s config.Stream) bool { return s.Name == deadletter.Audit })
	if i < 0 {
		return false
	}
	if len(deadletter.Captured(cfg.Streams[i].Subjects)) > 0 {
		if why := cfg.NoRoomForDeadLetters(); why != "" {
			b.log.Warn("dead letters will have to wait in stream AUDIT if their stream is not there yet: there is no room for it", "reason", why)
		}
		return true
	}
	if cfg.DeadLetters.Enabled {
		b.log.Warn("no dead letters are made: stream AUDIT captures no advisories; add to its subjects, or say [dead_letters] enabled = false",
			"subjects", strings.Join(deadletter.Advisories(), " "))
	}
	return false
}

// stopCollecting ends it, if there is one.
func (b *bus) stopCollecting() {
	if c := b.collecting.Swap(nil); c != nil {
		c.stop()
	}
}

// deadLetters is how it stands, nil if nothing is collected.
func (b *bus) deadLetters() *deadletter.Status {
	c := b.collecting.Load()
	if c == nil {
		return nil
	}
	s := c.Status()
	return &s
}
