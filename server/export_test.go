package server

import (
	"time"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/ledger"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Unsynchronised is a machine of which nobody keeps the clock right.
func Unsynchronised(s *Server) { s.synchronised = func() bool { return false } }

// ScrubAtOnce begins to read the store again when it has been opened.
func ScrubAtOnce(s *Server) { s.scrubAfter = 0 }

// NewScrub is a scrub of this server that a test runs by itself, as fast as it can.
func NewScrub(s *Server, found func(ledger.Finding)) *integrity.Scrub {
	r, err := blocks.For(natsserver.VERSION)
	if err != nil {
		panic(err)
	}
	return &integrity.Scrub{Store: s.opts.Load().StoreDir, Reader: r, Engine: asked{s}, Quarantine: s.quarantine(), Found: found,
		Limits: func() (int64, time.Duration) { return 1 << 40, time.Nanosecond }}
}

// Break is what nats-server says when it could not write.
func (s *Server) Break(err error) {
	s.sink.Errorf("JetStream stream '%s > %s' critical write error: %v", "$G", "RISK", err)
}

// Bare keeps no ledger and looks at nothing.
func Bare(s *Server) { s.bare = true }

var PauseAfter = pauseAfter

// PauseAt is how long the bus looks away from a volume with so much free.
func PauseAt(free uint64) time.Duration { return pauseAt(free, bounds{keep: 1}) }

// Look is one look at the store's volume, as the bus takes it all the time.
func (s *Server) Look() { s.space.turn(time.Now()) }

// StopLooking leaves that to a test.
func (s *Server) StopLooking() { s.space.stop(); <-s.space.done }

// Hasty makes no pauses to speak of before it starts nats-server anew once more.
func Hasty(s *Server) { s.space.pause = time.Millisecond }
