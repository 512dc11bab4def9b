package server

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
	"github.com/nats-io/nats.go/jetstream"
)

// Reload makes a serving bus match cfg: first the plan, then NATS's options, then the safe part of the layout. What
// cannot change while the bus runs, or what JetStream would refuse, refuses the whole before anything has changed.
// State tells what was done and what was held back.
func (s *Server) Reload(ctx context.Context, cfg *config.Config) error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.State().Phase != Serving {
		return ErrNotServing
	}
	old := s.Config()
	opts, err := s.natsOptions(cfg)
	if err != nil {
		return err
	}
	if err := fixed(old, cfg); err != nil {
		return err
	}
	return s.withJetStream(func(js jetstream.JetStream) error {
		plan, err := s.look(ctx, js, cfg)
		if err != nil {
			return err
		}
		if err := conflicts(plan, false); err != nil {
			return err
		}
		if err := s.NATS().ReloadOptions(opts); err != nil {
			return s.refusal(err, old, cfg)
		}
		s.cfg.Store(cfg)
		s.opts = opts
		return s.apply(ctx, js, plan)
	})
}

// fixed finds what only a restart can change.
func fixed(old, cfg *config.Config) error {
	var errs []error
	add := func(same bool, key string) {
		if !same {
			errs = append(errs, fmt.Errorf("%s: cannot change while the bus runs; restart it", key))
		}
	}
	add(old.Monitor == cfg.Monitor, "monitor")
	add(old.Bus.LameDuck == cfg.Bus.LameDuck, "bus.lame_duck")
	return errors.Join(errs...)
}

var notReloadable = regexp.MustCompile(`(?i)not supported for (\w+)`)

// refusal words nats-server's refusal with our key. Its own text names a field of Go, and may print the encryption key.
func (s *Server) refusal(err error, old, cfg *config.Config) error {
	changed := cfg.NATSChanges(old)
	field := notReloadable.FindStringSubmatch(err.Error())
	if field == nil || len(changed) == 0 {
		return fmt.Errorf("nats-server: %w", s.sink.redacted(err))
	}
	plain := func(k string) string { return strings.ReplaceAll(strings.ToLower(k), "_", "") }
	if strings.HasPrefix(plain(field[1]), "jetstream") {
		changed = slices.DeleteFunc(changed, func(k string) bool { return !strings.HasPrefix(k, "nats.jetstream") })
	}
	if len(changed) == 1 {
		return fmt.Errorf("%s: cannot change while the bus runs; restart it", changed[0])
	}
	for _, k := range changed {
		last := k[strings.LastIndexByte(k, '.')+1:]
		if strings.Contains(plain(field[1]), plain(last)) || last == "listen" && (plain(field[1]) == "host" || plain(field[1]) == "port") {
			return fmt.Errorf("%s: cannot change while the bus runs; restart it", k)
		}
	}
	return fmt.Errorf("of %s, something cannot change while the bus runs (nats-server says %s); restart it", strings.Join(changed, ", "), field[1])
}

// Plan looks at the running bus without changing it.
func (s *Server) Plan(ctx context.Context, cfg *config.Config) (plan bootstrap.Plan, err error) {
	err = s.withJetStream(func(js jetstream.JetStream) error { plan, err = s.look(ctx, js, cfg); return err })
	return plan, err
}
