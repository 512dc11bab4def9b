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
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// Reload makes a serving bus match cfg: first the plan, then NATS's options, then the safe part of the layout. What
// cannot change while the bus runs, or what JetStream would refuse, refuses the whole before anything has changed.
// State tells what was done and what was held back.
func (s *Server) Reload(ctx context.Context, cfg *config.Config) error {
	if err := s.life.LockContext(ctx); err != nil {
		return err
	}
	defer s.life.Unlock()
	if s.State().Phase != Serving {
		return ErrNotServing
	}
	old := s.Config()
	opts, err := s.natsOptions(cfg, (*config.Config).ReloadOptions)
	if err != nil {
		return err
	}
	if err := fixed(old, cfg); err != nil {
		return err
	}
	var plan bootstrap.Plan
	if err := s.withJetStream(func(js jetstream.JetStream) error { plan, err = s.look(ctx, js, cfg); return err }); err != nil {
		return err
	}
	if err := refused(plan); err != nil {
		return err
	}
	forget(s.opts.Load(), opts)
	if err := s.NATS().ReloadOptions(opts); err != nil {
		return s.refusal(err, old, cfg)
	}
	s.space.enforce(opts)
	if newAccounts(s.opts.Load(), opts) { // whose imports nats-server connects when it reloads the next time only
		if opts, err = s.natsOptions(cfg, (*config.Config).ReloadOptions); err == nil {
			err = s.NATS().ReloadOptions(opts)
			s.space.enforce(opts)
		}
		if err != nil {
			return fmt.Errorf("nats-server: new services: %w; reload once more", s.sink.redacted(err))
		}
	}
	s.opts.Store(opts)
	s.own.use(opts)
	s.cfg.Store(cfg)
	// On a connection of its own: the one before may have been sent away by what it brought.
	return s.withJetStream(func(js jetstream.JetStream) error { return s.apply(ctx, js, plan) })
}

// forget has nats-server drop what the account of the streams exported, where accounts were declared and are no longer: it
// would keep that, to accounts that are gone, and panic over them at the reload after this one.
func forget(old, new *natsserver.Options) {
	own := func(a *natsserver.Account) bool { return a.Name == natsserver.DEFAULT_GLOBAL_ACCOUNT }
	if !slices.ContainsFunc(old.Accounts, own) || len(new.Accounts) > 1 {
		return
	}
	none := natsserver.NewAccount(natsserver.DEFAULT_GLOBAL_ACCOUNT)
	_ = none.AddServiceExport("$deltran.nothing", []*natsserver.Account{none}) // these cannot fail
	_ = none.AddStreamExport("$deltran.nothing", []*natsserver.Account{none})
	new.Accounts = append([]*natsserver.Account{none}, new.Accounts...) // mappings, if there are any, come after
}

func newAccounts(old, new *natsserver.Options) bool {
	return slices.ContainsFunc(new.Accounts, func(a *natsserver.Account) bool {
		return !slices.ContainsFunc(old.Accounts, func(o *natsserver.Account) bool { return o.Name == a.Name })
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

var notReloadable = regexp.MustCompile(`(?i)not supported for ([^:]+)|^field "(\w+)"`)

// refusal words nats-server's refusal with our key. Its own text names a field of Go, and may print the encryption key.
func (s *Server) refusal(err error, old, cfg *config.Config) error {
	changed := cfg.NATSChanges(old)
	m := notReloadable.FindStringSubmatch(err.Error())
	if m == nil || len(changed) == 0 {
		return fmt.Errorf("nats-server: %w", s.sink.redacted(err))
	}
	plain := func(k string) string { return strings.ToLower(strings.NewReplacer("_", "", " ", "").Replace(k)) }
	field := plain(m[1] + m[2])
	if strings.HasPrefix(field, "jetstream") {
		changed = slices.DeleteFunc(changed, func(k string) bool { return !strings.HasPrefix(k, "nats.jetstream") })
	}
	for _, k := range changed {
		last := plain(k[strings.LastIndexByte(k, '.')+1:])
		if len(changed) == 1 || strings.Contains(field, last) || last == "listen" && (field == "host" || field == "port") {
			return fmt.Errorf("%s: cannot change while the bus runs; restart it", k)
		}
	}
	return fmt.Errorf("of %s, one cannot change while the bus runs (nats-server calls it %s); restart it", strings.Join(changed, ", "), m[1]+m[2])
}
