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
