package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// apiTimeout is how long one JetStream call may take: a slow disk is not an error.
const apiTimeout = time.Minute

// layout makes the declaration stand. In a cluster, where nodes come and go while it does, it tries again until it
// stands.
func (s *Server) layout(ctx context.Context) error {
	s.phase(Applying)
	for {
		err := s.withJetStream(func(js jetstream.JetStream) error {
			plan, err := s.look(ctx, js, s.Config())
			if err != nil {
				return err
			}
			if err := refused(plan.Impossible()); err != nil { // what exists goes on as it is
				return err
			}
			return s.apply(ctx, js, plan)
		})
		if err == nil {
			s.phase(Standing)
			return nil
		}
		if s.opts.Load().DontListen || ctx.Err() != nil {
			return err
		}
		s.log.Warn("the layout does not stand yet", "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// withJetStream runs f on a connection of its own: one that stayed open would be a client that closing waits for.
func (s *Server) withJetStream(f func(jetstream.JetStream) error) error {
	nc, err := s.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(apiTimeout))
	if err != nil {
		return err
	}
	return f(js)
}

// look finds what differs between the declaration and what is there, and what it would cost.
func (s *Server) look(ctx context.Context, js jetstream.JetStream, cfg *config.Config) (bootstrap.Plan, error) {
	have, err := s.observe(ctx, js)
	if err != nil {
		return bootstrap.Plan{}, err
	}
	have.Limits = s.opts.Load().JetStreamLimits
	plan := bootstrap.Diff(cfg.Streams, have)
	return plan, bootstrap.Weigh(ctx, js, plan)
}

// observe asks what is there. In a store that was not there a moment ago there is nothing, and that need not be asked; what
// a WebSocket client makes in the same moment, Apply meets.
func (s *Server) observe(ctx context.Context, js jetstream.JetStream) (bootstrap.Observed, error) {
	if st := s.State(); st.Phase == Applying && st.Storage.New && s.opts.Load().DontListen {
		return bootstrap.Observed{}, nil
	}
	return bootstrap.Observe(ctx, js)
}

// refused is an error for what JetStream would refuse of a plan.
func refused(plan bootstrap.Plan) error {
	var errs []error
	for _, c := range plan.Changes {
		if c.Why != "" {
			errs = append(errs, fmt.Errorf("%s: cannot be made: %s; declare the two so that they go together, or change what is there with deltran-bus plan and the nats tool", c.Ref, c.Why))
		}
		for _, f := range c.Fields {
			if f.Class == bootstrap.Conflict {
				errs = append(errs, fmt.Errorf("%s: %s: %s", c.Ref, f.Name, f.Why))
			}
		}
	}
	return errors.Join(errs...)
}

// apply makes the safe part of a plan and remembers the rest.
func (s *Server) apply(ctx context.Context, js jetstream.JetStream, plan bootstrap.Plan) error {
	done, err := bootstrap.Apply(ctx, js, plan, bootstrap.Allow{})
	if err != nil {
		return fmt.Errorf("%w%s", err, s.remains(plan))
	}
	s.set(func(st *State) { st.Done, st.Plan = done, plan.Held(bootstrap.Allow{}) })
	if s.opts.Load().SyncAlways && len(done.Changes) > 0 { // what came into being is there to stay
		return syncTree(s.opts.Load().StoreDir, s.taken, true)
	}
	return nil
}

// remains names what is left in the store of consumers that could not be made: damaged files of their former selves stand
// in the way. It is empty where there are none.
func (s *Server) remains(plan bootstrap.Plan) (hint string) {
	for _, c := range plan.Changes {
		dir := filepath.Join(s.opts.Load().StoreDir, natsserver.JetStreamStoreDir, natsserver.DEFAULT_GLOBAL_ACCOUNT, "streams", c.Stream, "obs", c.Consumer)
		if _, err := os.Stat(filepath.Join(dir, "o.dat")); c.Action == bootstrap.Create && c.Consumer != "" && err == nil && slices.Contains(s.Missing(), c.Ref.String()) {
			hint += fmt.Sprintf("\n%s: what is left of it in %s cannot be read; move that folder away, and it is made anew and delivers everything that its stream holds again", c.Ref, dir)
		}
	}
	return hint
}

// Missing names the declared streams and consumers that are not there, such as "stream AUDIT" and "consumer
// REPORTING/reporting-engine-consumer". It costs no JetStream API call. Of a cluster it sees this node only, and says
// nothing.
func (s *Server) Missing() []string {
	n := s.NATS()
	if n == nil || n.JetStreamIsClustered() {
		return nil
	}
	there := map[bootstrap.Ref]bool{}
	jsz, err := n.Jsz(&natsserver.JSzOptions{Account: natsserver.DEFAULT_GLOBAL_ACCOUNT, Streams: true, Consumer: true})
	if err == nil {
		for _, acc := range jsz.AccountDetails {
			for _, st := range acc.Streams {
				there[bootstrap.Ref{Stream: st.Name}] = true
				for _, con := range st.Consumer {
					there[bootstrap.Ref{Stream: st.Name, Consumer: con.Name}] = true
				}
			}
		}
	}
	var missing []string
	want := func(r bootstrap.Ref) {
		if !there[r] {
			missing = append(missing, r.String())
		}
	}
	for _, st := range s.Config().Streams {
		want(bootstrap.Ref{Stream: st.Name})
		for _, con := range st.Consumers {
			want(bootstrap.Ref{Stream: st.Name, Consumer: con.Name})
		}
	}
	return missing
}
