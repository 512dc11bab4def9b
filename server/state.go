package server

import (
	"time"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/ledger"
)

// Phase is how far a server is.
type Phase string

// The phases, in their order. Only in Serving is the client port open and the declared layout in place.
const (
	Opening    Phase = "opening"    // nothing is held yet: ports and store are being looked at
	Recovering Phase = "recovering" // nats-server reads its store
	Holding    Phase = "holding"    // something is lost, or may be; NATS is stopped until somebody has decided
	Applying   Phase = "applying"   // streams and consumers are being made
	Standing   Phase = "standing"   // the layout stands; in-process connections work
	Serving    Phase = "serving"    // the client port is open
	Restarting Phase = "restarting" // nats-server is started anew within the process; the phases from Recovering on follow again
	Closing    Phase = "closing"
	Closed     Phase = "closed"
)

// State is what a probe, a banner or a metric may know of a server. A value: keep it as long as you like.
type State struct {
	Phase   Phase          // how far it is
	Since   time.Time      // when the phase began
	Storage Storage        // where the messages are
	Space   Space          // whether there is room for more
	Plan    bootstrap.Plan // what the last look found and did not do: held back, in conflict, undeclared
	Done    bootstrap.Plan // what the last look did
	Err     error          // why Open failed, or the last try to start nats-server anew; nil otherwise

	// Findings are what is wrong with the store: while Holding what has to be decided, later what was reported.
	Findings []ledger.Finding
	// LedgerID names the ledger's page that a decision is about, while Holding.
	LedgerID string
}

// Storage is the store as it was found.
type Storage struct {
	Dir        string // absolute
	New        bool   // nothing was there
	SyncAlways bool   // every publish is on the disk before it is acknowledged
	Sync       time.Duration
	Encrypted  bool
	Limit      int64 // bytes that file streams may take; max_file_store
}

func (s *Server) set(change func(*State)) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	st := *s.state.Load()
	before := st.Phase
	change(&st)
	if st.Phase != before {
		st.Since = time.Now()
	}
	s.state.Store(&st)
}

func (s *Server) phase(p Phase) { s.set(func(st *State) { st.Phase = p }) }
