package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/ledger"
	"github.com/dustin/go-humanize"
	"github.com/gofrs/flock"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// examine finds what is damaged in the store while nats-server has not opened it: it would cut away, or refuse, what it cannot
// read.
func (s *Server) examine(ctx context.Context) (*integrity.Result, error) {
	if !s.ledgerKept() {
		return &integrity.Result{}, nil
	}
	r, err := blocks.For(natsserver.VERSION)
	if err != nil {
		return &integrity.Result{Findings: []ledger.Finding{{Kind: ledger.Damage, What: err.Error(), Found: time.Now()}}}, nil
	}
	st := integrity.Store{Dir: s.opts.Load().StoreDir, Page: s.page, Quarantine: s.quarantine()}
	st.Declared = func(stream, consumer string) bool { return declares(s.Config(), stream, consumer) }
	if s.page.Clean {
		if st.Manifest, err = s.ledger.Manifest(); err != nil {
			return nil, err
		}
	}
	if st.Keep, err = s.ledger.Keepsakes(); err != nil {
		return nil, err
	}
	began := time.Now()
	res, err := integrity.Look(ctx, r, st)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	s.log.Debug("looked for damage", "bytes", res.Bytes, "took", took, "findings", len(res.Findings))
	if took > time.Second {
		s.log.Info("read the store, because the bus was not stopped in order", "size", humanize.IBytes(uint64(res.Bytes)), "took", took.Round(100*time.Millisecond))
	}
	for i := range res.Findings {
		res.Findings[i].Found = began
	}
	return res, nil
}

// Examine reads all of a store that no bus has open, and says what is damaged in it, and of how many bytes of messages. It
// changes nothing. The error is ErrInUse while a bus has it, or blocks.ErrEngine.
func Examine(ctx context.Context, cfg *config.Config, dir string) ([]ledger.Finding, int64, error) {
	if lock := filepath.Join(dir, lockFile); exists(lock) {
		l := flock.New(lock)
		free, err := l.TryRLock()
		defer l.Close()
		if err != nil || !free {
			return nil, 0, errors.Join(ErrInUse, err)
		}
	}
	r, err := blocks.For(natsserver.VERSION)
	if err != nil {
		return nil, 0, err
	}
	st := integrity.Store{Dir: dir, Thorough: true, Declared: func(stream, consumer string) bool { return declares(cfg, stream, consumer) }}
	book, page, _, err := ledger.Open(dir)
	if err != nil && !errors.Is(err, ledger.ErrDamaged) {
		return nil, 0, err
	}
	st.Page = page
	if st.Manifest, err = book.Manifest(); err == nil {
		st.Keep, err = book.Keepsakes()
	}
	if err != nil {
		return nil, 0, err
	}
	res, err := integrity.Look(ctx, r, st)
	if err != nil {
		return nil, 0, err
	}
	return res.Findings, res.Bytes, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (s *Server) quarantine() integrity.Quarantine {
	return integrity.Quarantine{Store: s.opts.Load().StoreDir, Most: s.Config().Scrub.Quarantine, Free: func() (uint64, error) { return FreeSpace(s.opts.Load().StoreDir) }}
}

// declares reports whether a stream, or a consumer of it, is in the declaration.
func declares(c *config.Config, stream, consumer string) bool {
	for _, st := range c.Streams {
		if st.Name != stream {
			continue
		}
		if consumer == "" {
			return true
		}
		for _, c := range st.Consumers {
			if c.Name == consumer || c.Durable == consumer {
				return true
			}
		}
	}
	return false
}

// sound reports whether a small file of the store is worth keeping a copy of.
func (s *Server) sound(rel string, data []byte) bool {
	r, err := blocks.For(natsserver.VERSION)
	return err != nil || integrity.Sound(r, rel, data, func(rel string) ([]byte, error) {
		return os.ReadFile(filepath.Join(s.opts.Load().StoreDir, filepath.FromSlash(rel)))
	})
}

// sameAgain makes the page speak of the streams that were made anew, with their messages, as what they are: the same.
// What they hold less than before is reported.
func (s *Server) sameAgain(page ledger.Page) (ledger.Page, error) {
	if len(s.remade) == 0 {
		return page, nil
	}
	there, err := held(s.NATS())
	if err != nil {
		return page, fmt.Errorf("ledger: %w", err)
	}
	page.Streams = slices.Clone(page.Streams)
	for _, st := range there {
		i := slices.IndexFunc(page.Streams, func(was ledger.Stream) bool { return was.Name == st.Name })
		if i < 0 || !slices.Contains(s.remade, st.Name) {
			continue
		}
		page.Streams[i].Created = st.Created
		for _, f := range ledger.Compare(ledger.Page{Streams: page.Streams[i : i+1]}, []ledger.Stream{st}, time.Now()) {
			s.report(f)
		}
	}
	return page, nil
}
