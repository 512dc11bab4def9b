package server

import (
	"context"
	"errors"
)

// Close stops in this order; more than once is fine. It ends when ctx does at the latest, give or take NATS's own
// shutdown.
//  1. no longer ready
//  2. the scrub, and the ledger's connection
//  3. lame duck: clients are told and have [bus] lame_duck to move away
//  4. NATS
//  5. the last sync of what was written since the start
//  6. the ledger's last page: a clean stop
//  7. the store lock
func (s *Server) Close(ctx context.Context) error {
	defer s.space.wait(ctx)
	s.space.stop()
	s.life.Lock()
	defer s.life.Unlock()
	return s.close(ctx)
}

// Abandon is Close without steps 3, 5 and 6: for a store that is thrown away, or read again by the same machine.
func (s *Server) Abandon() error {
	defer s.space.wait(context.Background())
	s.space.stop()
	s.life.Lock()
	defer s.life.Unlock()
	return s.end(context.Background(), false)
}

func (s *Server) close(ctx context.Context) error { return s.end(ctx, true) }

func (s *Server) end(ctx context.Context, gently bool) (err error) {
	s.closing.Do(func() {
		serving := s.State().Phase == Serving
		s.phase(Closing)
		last := func() error { return nil }
		s.stopScrub()
		if s.book != nil {
			last = s.book.end()
		}
		if n := s.NATS(); n != nil {
			if serving && gently {
				left := make(chan struct{})
				go func() { defer close(left); n.LameDuckShutdown() }()
				select {
				case <-left:
				case <-ctx.Done():
				}
			}
			if !gently {
				_ = n.ShutdownJetStream() // by itself NATS tells those who pull and waits 50 ms for it to arrive
			}
			n.Shutdown()
			n.WaitForShutdown()
		}
		if s.lock != nil {
			err = s.neverOpened()
			if err == nil && gently && s.NATS() != nil {
				err = syncTree(s.opts.Load().StoreDir, s.taken, false)
			}
			if err == nil && gently {
				s.spare()
				err = last()
			}
			err = errors.Join(err, s.lock.Close())
		}
		s.phase(Closed)
		close(s.done)
	})
	return err
}
