package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/lossyfs"
	"github.com/deltran/deltran-bus/scripts/internal/witness"
)

// A server is one that can be started on a store folder.
type server struct {
	name     string
	declares bool // the bus's streams, by itself
	start    func(ctx context.Context, store string) (*busproc.Bus, error)
}

// The store is a folder that the server makes within the mount: its own name has to last as well.
const storeDir = "store"

// A life is what servers did to a file system, and the witness of it.
type life struct {
	server
	*witness.Witness
	base *lossyfs.Tree
	ops  []lossyfs.Op
}

// live mounts base and lets do run servers on it; it kills the one that is left. It begins with what the witness knows until
// then.
func (s *settings) live(ctx context.Context, srv server, w *witness.Witness, base *lossyfs.Tree, until int, do func(start func() (*busproc.Bus, error)) error) (l *life, err error) {
	dir, err := os.MkdirTemp(s.work, "mount-")
	if err != nil {
		return nil, err
	}
	m, err := lossyfs.Mount(dir, base)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := m.Close(); cerr != nil && err == nil {
			err = cerr
		}
		_ = os.Remove(dir)
	}()
	w.Rewind(until, m.Len)
	var last *busproc.Bus
	defer func() {
		if last != nil {
			_ = last.Kill()
		}
	}()
	err = do(func() (*busproc.Bus, error) {
		b, err := srv.start(ctx, filepath.Join(dir, storeDir))
		if err == nil {
			last = b
		}
		return b, err
	})
	if err != nil {
		return nil, err
	}
	if err := last.Kill(); err != nil {
		return nil, err
	}
	return &life{srv, w, m.Base(), m.Ops()}, nil
}

// A cut is one possible disk, and the length of the record that it comes from.
type cut struct {
	after int
	fate  string
	disk  *lossyfs.Tree
	drain bool // look as well whether everything comes that the consumers have not acknowledged, which takes a second
}

// The fates that a person can imagine.
func (s *settings) killed(l *life, after int) cut {
	return cut{after: after, fate: "the process alone", disk: lossyfs.Disk(l.base, l.ops[:after], s.semantics, lossyfs.Keep)}
}

func (s *settings) worst(l *life, after int) cut {
	return cut{after: after, fate: "all lost that may be", disk: lossyfs.Disk(l.base, l.ops[:after], s.semantics, lossyfs.Drop)}
}

func (s *settings) random(l *life, after int, seed uint64) cut {
	return cut{after: after, fate: fmt.Sprint("seed ", seed), disk: lossyfs.Disk(l.base, l.ops[:after], s.semantics, lossyfs.Random(seed))}
}

// check starts the server on what a cut left, and looks.
func (s *settings) check(ctx context.Context, l *life, c cut) (res witness.Result, err error) {
	dir, err := os.MkdirTemp(s.work, "cut-")
	if err != nil {
		return res, err
	}
	defer func() {
		if !s.keep || res.Err() == nil {
			_ = os.RemoveAll(dir)
		} else {
			res.Problems = append(res.Problems, "what was left, as the server made it: "+dir)
		}
	}()
	if err := c.disk.WriteTo(dir); err != nil {
		return res, err
	}
	return s.look(ctx, l.Witness, l.server, filepath.Join(dir, storeDir), c.after, c.drain)
}

// look starts the server on the store and looks for what was acknowledged until then.
func (s *settings) look(ctx context.Context, w *witness.Witness, srv server, store string, until int, drain bool) (res witness.Result, err error) {
	wait, cancel := context.WithTimeout(ctx, 10*time.Second) // one that waits for somebody's decision is not ready
	defer cancel()
	b, err := srv.start(wait, store)
	if err != nil {
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		return w.Refused(until, err), nil
	}
	defer func() { err = errors.Join(err, b.Kill()) }()
	if res, err = w.Check(ctx, b.Client, until, true); err != nil {
		return res, fmt.Errorf("%w\n%s", err, b.Stderr())
	}
	again, err := w.Repeat(ctx, b.Client, until)
	if err != nil {
		return res, err
	}
	res.Add(again)
	for _, line := range b.Damage() { // a cut leaves a lot, and damages nothing
		res.Problems = append(res.Problems, "a false alarm: "+line)
	}
	if drain {
		if err := w.Drain(ctx, b.Client, until); err != nil {
			res.Problems = append(res.Problems, err.Error())
		}
	}
	return res, nil
}

// where tells a person which operation was the last.
func (l *life) where(c cut) string {
	last := "before the first operation"
	if c.after > 0 {
		last = fmt.Sprintf("after operation %d of %d, %s", c.after, len(l.ops), l.ops[c.after-1])
	}
	return fmt.Sprintf("%s, cut %s, %s", l.name, last, c.fate)
}
