package server_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/server"
)

// filled is a store that a bus has left in order, with 20 messages in AUDIT and 10 in RISK.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, dir))
	publish(t, js(t, s), "events.audit.x", 20)
	publish(t, js(t, s), "events.risk.x", 10)
	stop(t, s)
	return dir
}

func streamDir(dir, stream string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", stream)
}

// holding opens a bus that has to hold, until the end of the test; opened tells how that ended.
func holding(t *testing.T, dir string) (s *server.Server, opened chan error) {
	t.Helper()
	s = server.New(at(t, dir), logTo(t), server.Patient)
	ctx, cancel := context.WithCancel(context.Background())
	opened = make(chan error, 1)
	ended := make(chan struct{})
	go func() { defer close(ended); opened <- s.Open(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; stop(t, s) })
	waitFor(t, func() bool { return s.State().Phase == server.Holding })
	return s, opened
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for giveUp := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(giveUp) {
			t.Fatal("it did not come to be")
		}
	}
}

func accept(t *testing.T, dir string, a ledger.Accepted) {
	t.Helper()
	book, page, ok, err := ledger.Open(dir)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if a.Page == "" {
		a.Page = page.ID()
	}
	if err := book.Accept(a); err != nil {
		t.Fatal(err)
	}
}

// rewrite changes the ledger's last page.
func rewrite(t *testing.T, dir string, change func(*ledger.Page)) {
	t.Helper()
	book, page, _, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(&page)
	if err := book.Write(page); err != nil {
		t.Fatal(err)
	}
}

// While it holds NATS does not run, everything says what is lost, and what somebody accepts is used up by using it.
func TestHoldUntilAccepted(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	if err := errors.Join(os.RemoveAll(streamDir(dir, "AUDIT")), os.RemoveAll(streamDir(dir, "RISK"))); err != nil {
		t.Fatal(err)
	}
	s, opened := holding(t, dir)
	st := s.State()
	if len(st.Findings) != 2 || st.Findings[0].Stream != "AUDIT" || st.Findings[0].Lost != 20 || !strings.Contains(st.Findings[0].WayOut, "--ledger "+st.LedgerID+" AUDIT") {
		t.Errorf("%+v", st)
	}
	if s.NATS() != nil {
		t.Error("NATS runs")
	}
	accept(t, dir, ledger.Accepted{Streams: []string{"AUDIT"}})
	if st := s.State(); st.Phase != server.Holding {
		t.Error("half accepted, and it does not hold")
	}
	accept(t, dir, ledger.Accepted{Streams: []string{"RISK"}})
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	if n := messages(t, js(t, s), "AUDIT"); n != 0 {
		t.Errorf("%d messages", n)
	}
	book, page, _, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if word, err := book.Accepted(); err != nil || word.Page != "" {
		t.Errorf("not used up: %+v, %v", word, err)
	}
	if line, ok := page.Stream("AUDIT"); !ok || line.Last != 0 {
		t.Errorf("the ledger still promises what was accepted as lost: %+v", line)
	}
}

// What was accepted while the bus was stopped is used by the next start; for another page it is worth nothing.
func TestAcceptedBefore(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	if err := os.RemoveAll(streamDir(dir, "AUDIT")); err != nil {
		t.Fatal(err)
	}
	accept(t, dir, ledger.Accepted{Page: "01234567", Streams: []string{"AUDIT"}})
	if _, err := tryStart(t, dir); !errors.Is(err, server.ErrLoss) {
		t.Fatalf("%v", err)
	}
	accept(t, dir, ledger.Accepted{Streams: []string{"AUDIT"}})
	stop(t, start(t, at(t, dir)))
	if err := os.RemoveAll(streamDir(dir, "RISK")); err != nil {
		t.Fatal(err)
	}
	if _, err := tryStart(t, dir); !errors.Is(err, server.ErrLoss) {
		t.Fatalf("%v", err)
	}
}

// The stream put back is all that it wants.
func TestRestoredStreamEndsTheHold(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	away := filepath.Join(t.TempDir(), "AUDIT")
	if err := os.Rename(streamDir(dir, "AUDIT"), away); err != nil {
		t.Fatal(err)
	}
	if _, err := tryStart(t, dir); !errors.Is(err, server.ErrLoss) {
		t.Fatalf("%v", err)
	}
	if err := os.Rename(away, streamDir(dir, "AUDIT")); err != nil {
		t.Fatal(err)
	}
	if n := messages(t, js(t, start(t, at(t, dir))), "AUDIT"); n != 20 {
		t.Errorf("%d messages", n)
	}
}

// A clock that cannot be right is found before the store is opened: what expires at that moment is gone.
func TestClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		clock time.Duration // the machine's, as the ledger sees it
		says  string
	}{
		{"behind", -time.Hour, "which is 1h0m"},
		{"ahead", 30 * 24 * time.Hour, "would expire now"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			s := start(t, at(t, dir))
			publish(t, js(t, s), "events.notifications.x", 5) // kept for seven days
			stop(t, s)
			rewrite(t, dir, func(p *ledger.Page) {
				p.Written = p.Written.Add(-c.clock)
				for i := range p.Streams {
					if l := &p.Streams[i]; l.Messages() > 0 {
						l.FirstTime, l.LastTime = l.FirstTime.Add(-c.clock), l.LastTime.Add(-c.clock)
					}
				}
			})
			before := tree(t, filepath.Join(dir, "jetstream"))
			unsynchronised := server.New(at(t, dir), logTo(t), server.Unsynchronised)
			if err := unsynchronised.Open(context.Background()); !errors.Is(err, server.ErrLoss) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v", err)
			}
			if after := tree(t, filepath.Join(dir, "jetstream")); after != before {
				t.Errorf("changed:\n%s", after)
			}
			accept(t, dir, ledger.Accepted{Clock: true})
			if n := messages(t, js(t, start(t, at(t, dir))), "NOTIFICATIONS"); n != 5 {
				t.Errorf("%d messages", n)
			}
		})
	}
}

// One page damaged is told, and the other read; both damaged, nobody knows what has to be there.
func TestDamagedLedger(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	damage := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, ledger.Dir, name), []byte("deltran-bus page"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage("page.a")
	s := start(t, at(t, dir))
	if st := s.State(); len(st.Findings) != 1 || st.Findings[0].Kind != ledger.Ledger || st.Findings[0].Holds {
		t.Errorf("%+v", st.Findings)
	}
	stop(t, s)
	damage("page.a")
	damage("page.b")
	if _, err := tryStart(t, dir); !errors.Is(err, server.ErrLoss) || !strings.Contains(err.Error(), "nobody knows") {
		t.Fatalf("%v", err)
	}
}

// Removed on purpose, also in the last moment before a kill, is not lost.
func TestDeliberateRemoval(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	s := start(t, at(t, dir))
	j := js(t, s)
	waitFor(t, func() bool { // a page that promises it
		_, page, _, err := ledger.Open(dir)
		line, _ := page.Stream("AUDIT")
		return err == nil && line.Last == 20 && !page.Clean
	})
	if err := j.DeleteStream(t.Context(), "AUDIT"); err != nil {
		t.Fatal(err)
	}
	st, err := j.Stream(t.Context(), "RISK")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { // within moments, not at the next tick
		_, page, _, err := ledger.Open(dir)
		audit, known := page.Stream("AUDIT")
		risk, _ := page.Stream("RISK")
		return err == nil && (audit.Going || !known) && (risk.Removing || risk.First == 11)
	})
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
	again := start(t, at(t, dir))
	if st := again.State(); len(st.Findings) != 0 {
		t.Errorf("%+v", st.Findings)
	}
}
