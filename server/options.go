package server

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/deltran/deltran-bus/config"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// options reads the declaration as nats-server's options, with what embedding it needs on top.
func (s *Server) options() error {
	o, err := s.natsOptions(s.Config(), (*config.Config).Options)
	if err != nil {
		return err
	}
	s.had.keep(o)
	s.opts.Store(o)
	s.own.use(o)
	return nil
}

// natsOptions reads a declaration for a nats-server that is to start, or to reload.
func (s *Server) natsOptions(c *config.Config, read func(*config.Config) (*natsserver.Options, []string, error)) (*natsserver.Options, error) {
	o, secrets, err := read(c)
	if err != nil {
		return nil, err
	}
	s.sink.hide(secrets)
	if err := s.own.admit(o); err != nil {
		return nil, err
	}
	// nats-server takes the account of an nkey by its name, and compares these accounts in full when it reloads: the live
	// ones would be read while clients change them.
	for _, k := range o.Nkeys {
		if k.Account != nil {
			k.Account = natsserver.NewAccount(k.Account.Name)
		}
	}
	s.oldKey, o.JetStreamOldKey = o.JetStreamOldKey, "" // nats-server's way to a new key loses streams: openKeys has another
	if o.StoreDir, err = filepath.Abs(o.StoreDir); err != nil {
		return nil, fmt.Errorf("store %s: %w", o.StoreDir, err)
	}
	// The gate: Listen opens the port. A cluster's routes wait for the port, there it has to be open from the start.
	o.DontListen = o.Cluster.Port == 0
	o.DisableJetStreamBanner = true
	// The bus's own connections log in with a key even while nobody has to: they stay when that changes.
	o.AlwaysEnableNonce = true
	o.LameDuckDuration, o.LameDuckGracePeriod = c.Bus.LameDuck, 10*time.Millisecond // a file may not say less than 30s
	return o, nil
}
