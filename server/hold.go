package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/ledger"
)

// holdEvery is how often a bus that holds looks whether somebody has decided.
const holdEvery = 250 * time.Millisecond

// openLedger reads what the store has to hold.
func (s *Server) openLedger() error {
	book, page, ok, err := ledger.Open(s.opts.Load().StoreDir)
	if err != nil && !errors.Is(err, ledger.ErrDamaged) {
		return err
	}
	s.ledger, s.page = book, page
	s.unreadable = err != nil
	if !ok && err == nil && !s.State().Storage.New {
		s.log.Debug("the store has no ledger yet; from now on what it holds is written down", "store", s.opts.Load().StoreDir)
	}
	return nil
}

// beginWriting makes it durable that the store is open: from now on it may be ahead of what a clean stop said of it.
func (s *Server) beginWriting() error {
	if !s.page.Clean || !s.ledgerKept() {
		return nil
	}
	s.page.Clean = false
	s.wasClean = true
	return s.ledger.Write(s.page)
}

// neverOpened takes beginWriting back, if nothing was written after all.
func (s *Server) neverOpened() error {
	if !s.wasClean || s.book != nil {
		return nil
	}
	was, err := s.ledger.Manifest()
	if err != nil {
		return err
	}
	if is, err := ledger.Survey(s.opts.Load().StoreDir); err != nil || !maps.Equal(was, is) {
		return err
	}
	s.page.Clean = true
	return s.ledger.Write(s.page)
}

// ledgerKept reports whether there is a ledger to keep: a cluster has its own ways to make up for what one node lost, and what
// lives in memory is not promised.
func (s *Server) ledgerKept() bool {
	return s.opts.Load().DontListen && !s.Config().InMemory() && !s.bare
}

// before judges the machine and the files, with the store still closed.
func (s *Server) before() (found []ledger.Finding) {
	if !s.ledgerKept() {
		return nil
	}
	now := time.Now()
	for _, path := range s.ledger.Damaged {
		f := ledger.Finding{Kind: ledger.Ledger, File: path, Found: now, What: "a page of the ledger cannot be read: " + path, WayOut: "none is needed; it is written anew"}
		if s.unreadable {
			f.What, f.Holds = "no page of the ledger can be read: "+path+"; nobody knows what the store has to hold", true
		}
		found = append(found, f)
	}
	bus := s.Config().Bus
	return append(found, ledger.Judge(s.page, now, ledger.Jumps{Back: bus.MaxClockBack, Ahead: bus.MaxClockAhead, Trusted: s.synchronised()})...)
}

// after compares what NATS has recovered with what the ledger promises, and with the folders that were there.
//
// A message that was deleted in the last moment before a kill is missed by the ledger; that it was deleted stands in the files.
func (s *Server) after(before map[string]string, files *integrity.Result) ([]ledger.Finding, error) {
	if !s.opts.Load().DontListen {
		return nil, nil // a cluster decides who keeps what
	}
	for _, name := range s.remade {
		delete(before, name)
	}
	notBack, err := s.notBack(before)
	if err != nil || !s.ledgerKept() {
		return notBack, err
	}
	there, err := held(s.NATS())
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(ledger.Compare(s.page, there, time.Now()), func(f ledger.Finding) bool {
		return slices.Contains(s.remade, f.Stream) || f.Kind == ledger.Middle && slices.Contains(files.Accounted, f.Stream)
	})
	for _, f := range notBack {
		if i := slices.IndexFunc(found, func(g ledger.Finding) bool { return g.Kind == ledger.Gone && g.Stream == f.Stream }); i >= 0 {
			found[i].File, found[i].Holds = f.File, true
		} else {
			found = append(found, f)
		}
	}
	return found, nil
}

// setAside moves away what is left of streams that are gone for good: nats-server deletes it when the stream is made anew.
func (s *Server) setAside(gone []ledger.Finding) error {
	for _, f := range gone {
		if _, err := os.Stat(f.File); f.Kind != ledger.Gone || f.File == "" || err != nil {
			continue
		}
		to := filepath.Join(s.opts.Load().StoreDir, "deltran-bus.quarantine", f.Stream+"-"+s.page.ID())
		err := os.MkdirAll(filepath.Dir(to), 0o700)
		if err == nil {
			err = os.Rename(f.File, to)
		}
		if err != nil {
			return fmt.Errorf("store %s: what is left of stream %s cannot be set aside: %w", s.opts.Load().StoreDir, f.Stream, err)
		}
		s.log.Warn("set aside what is left of a stream", "stream", f.Stream, "folder", to)
	}
	return nil
}

// judge reports what was found, and returns what nobody has accepted.
func (s *Server) judge(word ledger.Accepted, found []ledger.Finding) (held []ledger.Finding) {
	for _, f := range found {
		switch {
		case !f.Holds:
			s.report(f)
		case word.Covers(s.page.ID(), f):
			s.log.Warn("accepted: "+f.String(), "ledger", word.Page, "accepted_at", word.At)
		default:
			f.WayOut = s.choices(f)
			held = append(held, f)
		}
	}
	return held
}

// report tells about something that does not hold the bus, and keeps it where probes see it.
func (s *Server) report(f ledger.Finding) {
	attrs := []any{"kind", f.Kind}
	if f.WayOut != "" {
		attrs = append(attrs, "way_out", f.WayOut)
	}
	s.set(func(st *State) {
		st.Findings = slices.DeleteFunc(slices.Clone(st.Findings), func(before ledger.Finding) bool { // from before nats-server was started anew
			before.Found = f.Found
			return before == f
		})
		st.Findings = append(st.Findings, f)
	})
	s.log.Error(f.String(), attrs...)
	s.incident(Incident{What: Damaged, Why: f.String()})
}

// choices are what a person can do about a finding that holds the bus.
func (s *Server) choices(f ledger.Finding) string {
	accept := func(what string) string {
		return fmt.Sprintf("deltran-bus accept-loss --store-dir %s --ledger %s %s", s.opts.Load().StoreDir, s.page.ID(), what)
	}
	switch f.Kind {
	case ledger.Clock:
		return "set the clock right and start the bus again; or, if it is right: " + accept("--clock")
	case ledger.Ledger:
		return fmt.Sprintf("put back %s from a copy; or, if the streams are known to be whole, remove it and start the bus again", f.File)
	}
	return "stop the bus and put the stream's folder back, or restore it from a backup; or go on without: " + accept(f.Stream)
}

// hold waits until somebody has decided about all that was found, or ctx ends. NATS does not run meanwhile: what is left
// in the store stays as it is.
func (s *Server) hold(ctx context.Context, found []ledger.Finding) error {
	id := s.page.ID()
	s.set(func(st *State) { st.Phase, st.Findings, st.LedgerID = Holding, found, id })
	for _, f := range found {
		s.log.Error("the bus holds, nobody is let in: "+f.String(), "kind", f.Kind, "way_out", f.WayOut)
	}
	if !s.patient {
		return fmt.Errorf("store %s: %w: %s", s.opts.Load().StoreDir, ErrLoss, texts(found))
	}
	tick := time.NewTicker(holdEvery)
	defer tick.Stop()
	for {
		if word, err := s.ledger.Accepted(); err == nil && !slices.ContainsFunc(found, func(f ledger.Finding) bool { return !word.Covers(id, f) }) {
			s.set(func(st *State) { st.Phase, st.Findings, st.LedgerID = Opening, nil, "" })
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("store %s: %w: %s", s.opts.Load().StoreDir, ErrHolding, texts(found))
		case <-tick.C:
		}
	}
}

func texts(found []ledger.Finding) string {
	var out []string
	for _, f := range found {
		out = append(out, f.String())
	}
	return strings.Join(out, "; ")
}
