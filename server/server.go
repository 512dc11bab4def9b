// Package server is one nats-server in this process: its store locked, its layout standing, its client port behind a gate.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type Server struct {
	cfg   *config.Config
	log   *slog.Logger
	state atomic.Pointer[State]

	lock *lock
	nats atomic.Pointer[natsserver.Server]
	sink *logger
	once sync.Once
}

// New returns a node that holds nothing yet. State answers from now on.
func New(cfg *config.Config, log *slog.Logger) *Server {
	n := &Server{cfg: cfg, log: log}
	n.state.Store(&State{Phase: Opening})
	return n
}

func (n *Server) State() State             { return *n.state.Load() }
func (n *Server) NATS() *natsserver.Server { return n.nats.Load() } // nil before Recovering
func (n *Server) Config() *config.Config   { return n.cfg }

func (n *Server) set(f func(*State)) { s := n.State(); f(&s); n.state.Store(&s) }

// Open locks the store, starts NATS with its client port closed and makes the layout stand. On an error nothing stays open.
func (n *Server) Open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			n.set(func(s *State) { s.Err = err })
			err = errors.Join(err, n.Close(context.WithoutCancel(ctx)))
		}
	}()
	opts, err := natsOptions(n.cfg)
	if err != nil {
		return err
	}
	if err := probePort(opts); err != nil {
		return err
	}
	if n.lock, err = lockStore(opts.StoreDir); err != nil {
		return err
	}
	if err := n.start(opts); err != nil {
		return err
	}
	return n.bootstrap(ctx)
}

func (n *Server) start(opts *natsserver.Options) error {
	s, err := natsserver.NewServer(opts)
	if err != nil {
		return fmt.Errorf("nats-server: %w", err)
	}
	n.sink = &logger{log: n.log}
	s.SetLoggerV2(n.sink, false, false, false)
	n.nats.Store(s)
	n.set(func(s *State) { s.Phase = Recovering })
	s.Start()
	if err := n.sink.Err(); err != nil {
		return err
	}
	return n.recovered()
}

// recovered asks more than once: Healthz gives itself one millisecond, and on a busy machine that is not always enough.
func (n *Server) recovered() error {
	var h *natsserver.HealthStatus
	for range 100 {
		if h = n.NATS().Healthz(&natsserver.HealthzOptions{}); h.Status == "ok" {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("the store did not recover: %s %s", h.Status, h.Error)
}

func (n *Server) bootstrap(ctx context.Context) error {
	n.set(func(s *State) { s.Phase = Applying })
	nc, err := n.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	have, err := bootstrap.Observe(ctx, js)
	if err != nil {
		return err
	}
	plan := bootstrap.Diff(n.cfg.Streams, have)
	if err := bootstrap.Weigh(ctx, js, plan); err != nil {
		return err
	}
	done, err := bootstrap.Apply(ctx, js, plan, bootstrap.Allow{})
	if err != nil {
		return err
	}
	n.set(func(s *State) { s.Phase, s.Plan, s.Done = Standing, plan.Held(bootstrap.Allow{}), done })
	return nil
}

// Listen opens the client port: whoever can connect finds every stream and consumer.
func (n *Server) Listen() error {
	n.NATS().AcceptLoop(make(chan struct{}))
	if err := n.sink.Err(); err != nil {
		return err
	}
	n.set(func(s *State) { s.Phase = Serving })
	return nil
}

// probePort fails while nothing has been touched when the client port is taken: nats-server binds last and its own way.
func probePort(o *natsserver.Options) error {
	l, err := net.Listen("tcp", net.JoinHostPort(o.Host, strconv.Itoa(max(o.Port, 0))))
	if err != nil {
		return fmt.Errorf("client port: %w", err)
	}
	return l.Close()
}

// Connect returns an in-process connection.
func (n *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("", append(opts, nats.InProcessServer(n.NATS()))...)
}

// Close stops in this order; more than once is fine.
//  1. lame duck, where a port is open  2. NATS  3. the lock
func (n *Server) Close(ctx context.Context) error {
	n.once.Do(func() {
		listening := n.State().Phase == Serving
		n.set(func(s *State) { s.Phase = Closing })
		if s := n.NATS(); s != nil {
			_ = listening // LameDuckShutdown() when clients are connected
			s.Shutdown()
		}
		n.lock.Close()
	})
	return nil
}

// Reload makes a running node match cfg: first the plan, then NATS's options, then the layout. Whatever cannot be
// reloaded refuses the whole before anything has changed.
func (n *Server) Reload(ctx context.Context, cfg *config.Config) (bootstrap.Plan, error) {
	opts, err := natsOptions(cfg)
	if err != nil {
		return bootstrap.Plan{}, err
	}
	if err := n.NATS().ReloadOptions(opts); err != nil {
		return bootstrap.Plan{}, fmt.Errorf("reload: %w", err)
	}
	n.cfg = cfg
	if err := n.bootstrap(ctx); err != nil {
		return bootstrap.Plan{}, err
	}
	n.set(func(s *State) { s.Phase = Serving })
	return n.State().Done, nil
}
