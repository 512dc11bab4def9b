package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Close stops in this order; more than once is fine. It ends when ctx does at the latest, give or take NATS's own
// shutdown.
//  1. no longer ready
//  2. lame duck: clients are told and have [bus] lame_duck to move away
//  3. NATS
//  4. the last sync of what was written since the start, where not every message was synced
//  5. the store lock
func (s *Server) Close(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.close(ctx)
}

// Abandon is Close without steps 2 and 4: for a store that is thrown away, or read again by the same machine.
func (s *Server) Abandon() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.end(context.Background(), false)
}

func (s *Server) close(ctx context.Context) error { return s.end(ctx, true) }

func (s *Server) end(ctx context.Context, gently bool) (err error) {
	s.closing.Do(func() {
		serving := s.State().Phase == Serving
		s.phase(Closing)
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
			if gently && !s.opts.SyncAlways {
				err = syncTree(s.opts.StoreDir, s.taken)
			}
			err = errors.Join(err, s.lock.Close())
		}
		s.phase(Closed)
		close(s.done)
	})
	return err
}

// syncTree makes what was written since then durable: NATS itself does not, not even when it is shut down.
func syncTree(dir string, since time.Time) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || !d.IsDir() && info.ModTime().Before(since) {
			return err
		}
		flag := os.O_RDWR
		if d.IsDir() {
			if runtime.GOOS == "windows" {
				return nil // it has no such thing
			}
			flag = os.O_RDONLY
		}
		f, err := os.OpenFile(path, flag, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
