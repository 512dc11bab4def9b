// Package server is one nats-server in this process: its store locked, its layout standing, its client port behind a
// gate that opens last.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/ledger"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is the bus without its HTTP side. Make one with New or Start.
type Server struct {
	log          *slog.Logger
	sink         *logger
	own          identity
	patient      bool        // a loss is waited about
	synchronised func() bool // whether somebody keeps the machine's clock right
	scrubAfter   time.Duration
	bare         bool // keeps no ledger and looks at nothing: what measurements compare with

	life   turns // one of Open, Listen, Reload, Close, and a start anew, at a time
	cfg    atomic.Pointer[config.Config]
	nats   atomic.Pointer[natsserver.Server]
	opts   atomic.Pointer[natsserver.Options]
	oldKey string // of the store, before the declared one
	lock   *storeLock
	taken  time.Time // when
	had    ports     // of the nats-server before this one, within the process

	ledger     *ledger.Book
	page       ledger.Page // its last, as it was found; without streams where there was none
	unreadable bool        // there is a ledger, and it cannot be read
	wasClean   bool        // the store was stopped in order before it was opened
	remade     []string    // streams whose description was damaged beyond repair: the layout makes them anew over their messages
	book       *book       // nil until the layout stands, and where no ledger is kept
	scrub      atomic.Pointer[scrubbing]
	owned      atomic.Int32 // connections of the bus itself that stay

	space    *space
	incident func(Incident)
	stateMu  sync.Mutex
	state    atomic.Pointer[State]
	closing  sync.Once
	done     chan struct{}
}

// Option changes what a Server does.
type Option func(*Server)

// Patient makes Open wait, in the phase Holding, until somebody has decided about what the store has lost, where it
// would fail with ErrLoss.
func Patient(s *Server) { s.patient = true }

// New returns a server that holds nothing yet. State answers from now on, so that a probe can see every phase.
func New(cfg *config.Config, log *slog.Logger, opts ...Option) *Server {
	s := &Server{log: log, life: make(turns, 1), done: make(chan struct{}), synchronised: clockSynchronised, scrubAfter: scrubAfter, incident: func(Incident) {}}
	s.space = newSpace(s)
	s.sink = &logger{log: log, starting: s.starting, broke: s.space.broke, refusing: s.space.shut}
	for _, o := range opts {
		o(s)
	}
	s.cfg.Store(cfg)
	s.state.Store(&State{Phase: Opening})
	s.set(func(st *State) { st.Phase = Opening })
	return s
}

// Start is New, Open and Listen: for programs that embed the bus. cfg comes from the config package, log may be
// slog.New(slog.DiscardHandler).
func Start(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Server, error) {
	s := New(cfg, log)
	if err := s.Open(ctx); err != nil {
		return nil, err
	}
	if err := s.Listen(); err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// State is a snapshot. NATS is the server within, nil before Recovering. Done is closed when it has ended.
func (s *Server) State() State             { return *s.state.Load() }
func (s *Server) NATS() *natsserver.Server { return s.nats.Load() }
func (s *Server) Done() <-chan struct{}    { return s.done }

// Config is the declaration in force.
func (s *Server) Config() *config.Config { return s.cfg.Load() }

// Listeners are the ports that clients and other servers can come in by, and what protects each.
func (s *Server) Listeners() []config.Listener {
	s.life.Lock()
	defer s.life.Unlock()
	return s.Config().Listeners(s.opts.Load())
}

// ClientURL is where clients connect, such as nats://127.0.0.1:4222; empty before Listen.
func (s *Server) ClientURL() string {
	if n := s.NATS(); n != nil && n.Addr() != nil {
		return n.ClientURL()
	}
	return ""
}

// Clients is how many there are, without the bus's own connections.
func (s *Server) Clients() int {
	n := s.NATS()
	if n == nil {
		return 0
	}
	return max(0, n.NumClients()-int(s.owned.Load()))
}

func (s *Server) starting() bool { return s.State().Phase != Serving }

// Open goes the way of a declaration up to the gate: options, ports probed, store locked, NATS started with its client
// port closed, recovery, layout. In-process connections work when it returns. On an error nothing stays open and
// nothing has been changed that was there before; a wrong declaration is a config.Problems. If the store holds less than
// the ledger promises, it is ErrLoss, and State tells the findings.
func (s *Server) Open(ctx context.Context) (err error) {
	s.life.Lock()
	defer s.life.Unlock()
	defer func() {
		if err != nil {
			s.set(func(st *State) { st.Err = err })
			s.close(context.WithoutCancel(ctx))
		}
	}()
	nats, err := s.newNATS()
	if err != nil {
		return err
	}
	if err := probePorts(s.Config().Listeners(s.opts.Load())); err != nil {
		return err
	}
	if err := enoughFiles(); err != nil {
		return err
	}
	if err := s.takeStore(); err != nil {
		return err
	}
	if err := s.raise(ctx, nats); err != nil {
		return err
	}
	s.space.begin()
	return nil
}

// raise opens the store with NATS and makes the declaration stand.
func (s *Server) raise(ctx context.Context, nats *natsserver.Server) error {
	if err := s.room(ctx); err != nil {
		return fmt.Errorf("store %s: %w", s.opts.Load().StoreDir, err)
	}
	accepted, err := s.recover(ctx, nats)
	if err != nil {
		return err
	}
	book := s.openBook() // meanwhile
	if err := s.layout(ctx); err != nil {
		(<-book).close()
		return err
	}
	if err := s.keepLedger(<-book, accepted); err != nil {
		return err
	}
	s.startScrub()
	go s.watch(s.NATS()) // not the one that the bus may have held with
	return nil
}

// Listen opens the client port: whoever can connect finds every stream and consumer. In a cluster, where routes need
// the port before the layout can stand, it is open already; and WebSocket, MQTT and leaf node ports open with NATS itself:
// for those, readiness takes the gate's place.
func (s *Server) Listen() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.State().Phase != Standing {
		return fmt.Errorf("listen: the bus is %s", s.State().Phase)
	}
	return s.listen()
}

func (s *Server) listen() error {
	if s.opts.Load().DontListen {
		s.NATS().AcceptLoop(make(chan struct{}))
	}
	if err := s.sink.Err(); err != nil {
		return fmt.Errorf("client port: %w", err)
	}
	if s.NATS().Addr() == nil {
		return errors.New("client port: it did not open")
	}
	s.phase(Serving)
	return nil
}

// Connect returns an in-process connection with the rights of the bus itself, in the account that holds the streams.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	n := s.NATS()
	if n == nil {
		return nil, errors.New("connect: NATS has not started")
	}
	return nats.Connect("", append([]nats.Option{nats.Name("deltran-bus"), s.own.login(), nats.InProcessServer(n)}, opts...)...)
}

// watch ends the server when NATS ends by itself, and nobody is about to start it anew.
func (s *Server) watch(nats *natsserver.Server) {
	nats.WaitForShutdown()
	if s.NATS() != nats {
		return
	}
	if err := s.Close(context.Background()); err != nil {
		s.log.Error("closing", "error", err)
	}
}
