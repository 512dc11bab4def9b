package server_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/server"
)

// A crash while a stream was being made left a folder on which the bus never started again.
func TestHalfMadeStream(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	make := func(path, body string) {
		t.Helper()
		path = filepath.Join(dir, "jetstream", path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(body), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	make("$G/streams/NOTHING/msgs/1.blk", "")
	make("$G/streams/NOSUM/meta.inf", "{}")
	make("$G/streams/NOINF/meta.sum", "0123456789abcdef")
	make("_test_123456", "")
	s := start(t, at(t, dir))
	for stream, want := range map[string]uint64{"AUDIT": 20, "RISK": 10} {
		if n := messages(t, js(t, s), stream); n != want {
			t.Errorf("%s: %d messages", stream, n)
		}
	}
	stop(t, s)
	make("$G/streams/FULL/msgs/1.blk", "messages of a stream that lost its description")
	before := tree(t, streamDir(dir, "FULL"))
	defer func() {
		if after := tree(t, streamDir(dir, "FULL")); after != before {
			t.Errorf("changed:\n%s", after)
		}
	}()
	if _, err := tryStart(t, dir); err == nil {
		t.Error("messages without a description, and it starts")
	}
}

// Killed while it removes the folder of a deleted stream, which it has renamed before, nothing is lost.
func TestHalfDeletedStream(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	audit := streamDir(dir, "AUDIT")
	rewrite(t, dir, func(p *ledger.Page) { p.Clean = false })
	if err := errors.Join(os.Remove(filepath.Join(audit, "meta.inf")), os.Rename(audit, streamDir(dir, ".AUDIT"))); err != nil {
		t.Fatal(err)
	}
	if n := messages(t, js(t, start(t, at(t, dir))), "AUDIT"); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// Killed at the first step of the deletion of a stream that was made a moment before, the bus never started again: not even the
// ledger had heard of that stream.
func TestHalfDeletedBeforeTheLedgerKnew(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{false, true} {
		dir := filled(t)
		rewrite(t, dir, func(p *ledger.Page) { p.Clean = clean })
		brief := streamDir(dir, "BRIEF")
		if err := errors.Join(os.CopyFS(brief, os.DirFS(streamDir(dir, "AUDIT"))), os.Remove(filepath.Join(brief, "meta.inf"))); err != nil {
			t.Fatal(err)
		}
		s, err := tryStart(t, dir)
		if err == nil {
			stop(t, s)
		}
		if started := err == nil; started == clean { // after a clean stop nothing is half deleted
			t.Errorf("clean %t: %v", clean, err)
		}
		if _, err := os.Stat(brief); errors.Is(err, fs.ErrNotExist) == clean {
			t.Errorf("clean %t: %v", clean, err)
		}
	}
}

// Killed while it makes a stream anew that somebody deleted a moment before, nothing is lost either.
func TestHalfMadeAnew(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	rewrite(t, dir, func(p *ledger.Page) {
		p.Clean = false
		for i := range p.Streams {
			p.Streams[i].Going = p.Streams[i].Name == "AUDIT"
		}
	})
	audit := streamDir(dir, "AUDIT")
	if err := errors.Join(os.RemoveAll(audit), os.MkdirAll(audit, 0o700), os.WriteFile(filepath.Join(audit, "meta.inf"), []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if n := messages(t, js(t, start(t, at(t, dir))), "AUDIT"); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// Deleted, and the bus killed before that could be written down: nothing is lost. Hours after the bus has ended, something is.
func TestDeletedInTheLastMoment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after time.Duration
		boot  string // what the page says beyond this machine's
		lost  bool
	}{{time.Second, "", false}, {time.Hour, "", true}, {time.Second, " before the power cut", true}} {
		dir := filled(t)
		rewrite(t, dir, func(p *ledger.Page) {
			p.Clean, p.Boot = false, p.Boot+c.boot
			if p.Boot == "" {
				t.Skip("this system does not tell one start of the machine from another")
			}
		})
		audit := streamDir(dir, "AUDIT")
		when := time.Now().Add(c.after)
		if err := errors.Join(os.RemoveAll(audit), os.Chtimes(filepath.Dir(audit), when, when)); err != nil {
			t.Fatal(err)
		}
		s, err := tryStart(t, dir)
		if err == nil {
			stop(t, s)
		}
		if errors.Is(err, server.ErrLoss) != c.lost || !c.lost && err != nil {
			t.Errorf("after %s: %v", c.after, err)
		}
	}
}
