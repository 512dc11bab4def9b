package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/atrest"
	"github.com/deltran/deltran-bus/integrity"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// recover opens the store. What the ledger promises has to be there; if it is not, the bus holds, with NATS stopped, until
// somebody has decided, and tries again.
func (s *Server) recover(ctx context.Context, nats *natsserver.Server) (accepted bool, err error) {
	for {
		if err := s.openLedger(); err != nil {
			return false, fmt.Errorf("store %s: %w", s.opts.Load().StoreDir, err)
		}
		word, err := s.ledger.Accepted()
		if err != nil {
			return false, fmt.Errorf("store %s: %w; remove that file", s.opts.Load().StoreDir, err)
		}
		accepted = accepted || word.Page == s.page.ID()
		held := s.judge(word, s.before())
		var before map[string]string
		var files *integrity.Result
		if len(held) == 0 {
			if err = s.tidy(); err == nil {
				before, files, err = s.survey(ctx)
			}
			if err != nil {
				return false, fmt.Errorf("store %s: %w", s.opts.Load().StoreDir, err)
			}
			held = s.judge(word, files.Findings)
		}
		if len(held) == 0 {
			if nats == nil {
				if nats, err = s.newNATS(); err != nil {
					return false, err
				}
			}
			var store *atrest.Store
			if err = files.Mend(); err == nil {
				store, err = s.openKeys()
			}
			if err == nil {
				err = s.beginWriting()
			}
			if err == nil {
				err = s.changeKey(store)
			}
			if err != nil {
				return false, fmt.Errorf("store %s: %w", s.opts.Load().StoreDir, err)
			}
			s.remade = files.Remade
			if err := s.start(ctx, nats); err != nil {
				return false, err
			}
			after, err := s.after(before, files)
			if err != nil {
				return false, err
			}
			if held = s.judge(word, after); len(held) == 0 {
				return accepted, s.setAside(after)
			}
			s.stopNATS(nats)
			nats = nil
		}
		if err := s.hold(ctx, held); err != nil {
			return false, err
		}
	}
}

// newNATS makes a nats-server, with options of its own: it changes them.
func (s *Server) newNATS() (*natsserver.Server, error) {
	if err := s.options(); err != nil {
		return nil, err
	}
	nats, err := natsserver.NewServer(s.opts.Load())
	if err != nil {
		return nil, fmt.Errorf("nats-server: %w", s.sink.redacted(err))
	}
	return nats, nil
}

// tidy clears the store of what nobody wants.
func (s *Server) tidy() error {
	s.noteDeleted() // what follows changes the folder that it looks at
	cleared, err := clearHalfMade(s.opts.Load().StoreDir, s.page)
	for _, path := range cleared {
		s.log.Warn("took away what a crash left of a stream that was being made or deleted", "path", path)
	}
	return err
}

// survey sees to it that everything in the store can be opened, and looks for damage meanwhile. The streams that hold
// messages come back, with their folders.
func (s *Server) survey(ctx context.Context) (streams map[string]string, files *integrity.Result, err error) {
	examined := make(chan error, 1)
	go func() {
		var err error
		files, err = s.examine(ctx)
		examined <- err
	}()
	streams, err = inspect(s.opts.Load().StoreDir)
	if other := <-examined; err == nil { // what cannot be opened explains what cannot be examined
		err = other
	}
	return streams, files, err
}

// blind is how long after the ledger was looked at last something may have been deleted without a word in it, because
// the bus was killed.
const blind = 3 * time.Second

// noteDeleted finds streams that somebody deleted in the last moment before the bus was killed, so that it could not be
// written down: nats-server was still removing the folder, which it has renamed before, as it does nowhere else; or it has
// removed it right after the ledger was looked at last, while the bus still ran. After a power cut, which may have taken
// the folder, none of that is believed.
func (s *Server) noteDeleted() {
	if s.page.Clean || s.page.Boot == "" || s.page.Boot != bootID() {
		return
	}
	for i := range s.page.Streams {
		line := &s.page.Streams[i]
		dir := s.streamDir(line.Name)
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) || line.Going {
			continue
		}
		_, err := os.Lstat(filepath.Join(filepath.Dir(dir), "."+line.Name))
		folder, above := os.Stat(filepath.Dir(dir))
		if line.Going = err == nil || above == nil && !folder.ModTime().After(s.ledger.Looked().Add(blind)); line.Going {
			s.log.Info("deleted in the last moment before the bus ended", "stream", line.Name)
		}
	}
}

// stopNATS ends it before anybody was let in.
func (s *Server) stopNATS(nats *natsserver.Server) {
	s.nats.Store(nil)
	nats.Shutdown()
	nats.WaitForShutdown()
}

// start runs NATS up to a healthy store. Nothing may be created over one that did not recover: nats-server would
// delete what is there.
func (s *Server) start(ctx context.Context, nats *natsserver.Server) error {
	nats.SetLoggerV2(s.sink, s.log.Enabled(ctx, slog.LevelDebug), s.log.Enabled(ctx, LevelTrace), false)
	s.nats.Store(nats)
	s.phase(Recovering)
	started := make(chan struct{})
	go func() { defer close(started); nats.Start() }()
	select {
	case <-started:
	case <-ctx.Done():
		select { // reading cannot be cut short, but leaving can
		case <-started:
		case <-time.After(s.Config().Bus.LameDuck):
			s.lock = nil // the folder is still in use; the lock ends with the process
			s.nats.Store(nil)
			return fmt.Errorf("store %s: %w", s.opts.Load().StoreDir, ErrInterrupted)
		}
	}
	if err := s.sink.Err(); err != nil {
		return err
	}
	if !nats.JetStreamEnabled() {
		return errors.New("nats-server: JetStream did not start")
	}
	if acc := nats.GlobalAccount(); !acc.JetStreamEnabled() { // it is not where accounts are declared
		if err := acc.EnableJetStream(nil, nil); err != nil {
			return fmt.Errorf("nats-server: JetStream: %w", err)
		}
	}
	return s.recovered(ctx)
}

// recovered asks until NATS says that the store is whole. A single node knows when its start is over, but gives itself
// one millisecond to say that it takes connections, which a busy machine may not have; in a cluster it waits for the
// others, however long.
func (s *Server) recovered(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for asked := 1; ; asked++ {
		h := s.NATS().Healthz(nil)
		if h.Status == "ok" || len(s.remade) > 0 && s.onlyRemade() {
			return nil
		}
		busy := h.StatusCode == http.StatusInternalServerError
		if s.opts.Load().DontListen && (!busy && asked > 10 || asked > 1000) {
			return fmt.Errorf("store %s: %w: %s; nothing was created over it. %s", s.opts.Load().StoreDir, ErrNotRecovered, s.sink.redact(h.Error), s.wayOut())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the store: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// onlyRemade reports whether nothing is wrong but that streams are not there which the layout makes anew.
func (s *Server) onlyRemade() bool {
	h := s.NATS().Healthz(&natsserver.HealthzOptions{Details: true})
	return len(h.Errors) > 0 && !slices.ContainsFunc(h.Errors, func(e natsserver.HealthzError) bool {
		return e.Type != natsserver.HealthzErrorStream || !slices.Contains(s.remade, e.Stream)
	})
}

// wayOut is what can be done about a store that did not recover.
func (s *Server) wayOut() string {
	for _, e := range s.NATS().Healthz(&natsserver.HealthzOptions{Details: true}).Errors {
		if e.Type == natsserver.HealthzErrorAccount {
			return fmt.Sprintf("Declare [nats.accounts.%s] again, or move %s away", e.Account, filepath.Join(s.opts.Load().StoreDir, natsserver.JetStreamStoreDir, e.Account))
		}
	}
	return "Mend the cause, such as a wrong encryption key, or restore a backup"
}
