package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// ScheduleOptions are what a Schedule is told. All but Rate are needed.
type ScheduleOptions struct {
	Every   time.Duration // from one beginning to the next
	Dir     string        // where the archives go; it is not made, because a disk that is not mounted looks like one that is not there
	Keep    int           // how many good ones stay, at least 1
	Rate    int64         // bytes a second that are read at most while somebody publishes; 0: no limit
	Name    string        // what their names begin with, such as the bus's
	Version string        // of the program
	Connect func() (*nats.Conn, error)
	Log     *slog.Logger
}

// Status is how a schedule stands. A value: keep it as long as you like.
type Status struct {
	Every   float64   `json:"every_seconds"`
	Dir     string    `json:"dir"`
	Keep    int       `json:"keep"`
	Last    *Run      `json:"last,omitempty"`   // the last good one; also of an earlier process
	Failed  *Failure  `json:"failed,omitempty"` // since then
	Running time.Time `json:"running_since,omitzero"`
	Next    time.Time `json:"next,omitzero"`
}

// Run is one backup that was written and verified.
type Run struct {
	File     string    `json:"file"`
	Moment   time.Time `json:"moment"`
	Seconds  float64   `json:"duration_seconds"`
	Size     int64     `json:"size_bytes"`
	Streams  int       `json:"streams"`
	Messages uint64    `json:"messages"`
}

// Failure is why there is no newer backup.
type Failure struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error"`
	Times int       `json:"times"` // in a row
}

// Schedule backs up every so often. One that fails is tried again after a minute, or Every if that is shorter.
type Schedule struct {
	o     ScheduleOptions
	state atomic.Pointer[Status]
}

const retry = time.Minute

// NewSchedule returns a schedule that does nothing until Run.
func NewSchedule(o ScheduleOptions) *Schedule {
	s := &Schedule{o: o}
	s.state.Store(&Status{Every: o.Every.Seconds(), Dir: o.Dir, Keep: o.Keep, Last: LastRun(o.Dir, o.Name)})
	return s
}

// Status is how the schedule stands now.
func (s *Schedule) Status() Status { return *s.state.Load() }

func (s *Schedule) set(change func(*Status)) {
	st := s.Status()
	change(&st)
	s.state.Store(&st)
}

// Run backs up until ctx ends. The first one is due when Every has passed since the last good one that the folder holds:
// at once, if there is none.
func (s *Schedule) Run(ctx context.Context) {
	for {
		now := time.Now()
		due := s.due(now)
		s.set(func(st *Status) { st.Next = due })
		select {
		case <-ctx.Done():
			return
		case <-time.After(due.Sub(now)):
		}
		s.once(ctx)
	}
}

func (s *Schedule) due(now time.Time) time.Time {
	st := s.Status()
	due := now
	if st.Last != nil {
		due = st.Last.Moment.Add(s.o.Every)
	}
	if st.Failed != nil {
		due = st.Failed.Time.Add(min(s.o.Every, retry))
	}
	if latest := now.Add(s.o.Every); due.After(latest) { // the clock was set back
		return latest
	}
	return due
}

func (s *Schedule) once(ctx context.Context) {
	begun := time.Now()
	s.set(func(st *Status) { st.Running, st.Next = begun, time.Time{} })
	run, err := s.take(ctx, begun)
	if err != nil && ctx.Err() != nil {
		s.set(func(st *Status) { st.Running = time.Time{} })
		return
	}
	s.set(func(st *Status) {
		st.Running = time.Time{}
		if err == nil {
			st.Last, st.Failed = run, nil
			return
		}
		times := 1
		if st.Failed != nil {
			times += st.Failed.Times
		}
		st.Failed = &Failure{time.Now(), err.Error(), times}
	})
	if err != nil {
		s.o.Log.Error("backup failed; the last good one stays", "dir", s.o.Dir, "error", err)
		return
	}
	s.o.Log.Info("backed up", "file", run.File, "streams", run.Streams, "messages", run.Messages, "bytes", run.Size, "seconds", run.Seconds)
	if err := s.prune(run.File); err != nil {
		s.o.Log.Warn("old backups could not be removed", "dir", s.o.Dir, "error", err)
	}
}

// take writes one archive and verifies it. One that holds damaged streams is kept and is an error: it is not good.
func (s *Schedule) take(ctx context.Context, now time.Time) (*Run, error) {
	if _, err := os.Stat(s.o.Dir); err != nil {
		return nil, fmt.Errorf("%s: %w; if no disk is missing there, make it: mkdir -p %s", s.o.Dir, plain(err), s.o.Dir)
	}
	nc, err := s.o.Connect()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	file := filepath.Join(s.o.Dir, s.o.Name+"-"+now.UTC().Format(stamp)+".tar.gz")
	sh, watched := newShare(ctx, newClient(nc, 0), s.o.Rate)
	defer watched()
	m, size, err := CreateFile(ctx, nc, file, CreateOptions{Version: s.o.Version, Damaged: true, share: sh})
	if err != nil {
		return nil, err
	}
	if _, err := Verify(ctx, file, VerifyOptions{share: sh}); err != nil {
		if errors.Is(err, ErrBad) {
			err = errors.Join(fmt.Errorf("what was written is not what is there: is the disk failing? %w", err), os.Remove(file))
		}
		return nil, err
	}
	if names := m.Damaged(); len(names) > 0 {
		if err := s.pruneDamaged(file); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("stream %s: %w: %s; what can be read is in %s", names[0], ErrDamaged, m.Stream(names[0]).Damage, file)
	}
	return runOf(file, size, m), nil
}

func runOf(file string, size int64, m *Manifest) *Run {
	return &Run{File: file, Moment: m.Moment, Seconds: m.Finished.Sub(m.Moment).Seconds(), Size: size, Streams: len(m.Streams), Messages: m.Messages()}
}

// LastRun is the last good archive in a folder whose name begins so, nil if there is none.
func LastRun(dir, name string) *Run {
	list, err := List(dir)
	if err != nil {
		return nil
	}
	var last *Run
	for _, a := range list {
		if a.Good() && mine(a.File, name) {
			last = runOf(a.File, a.Size, a.Manifest)
		}
	}
	return last
}

// mine reports whether a schedule of that name wrote the file.
func mine(file, name string) bool {
	at, ok := strings.CutPrefix(filepath.Base(file), name+"-")
	if !ok {
		return false
	}
	at = strings.TrimSuffix(at, partial)
	_, err := time.Parse(stamp+".tar.gz", at)
	return err == nil
}

// pruneDamaged removes the damaged archives before one: while nobody mends the store there is another with every attempt.
func (s *Schedule) pruneDamaged(just string) error {
	list, err := List(s.o.Dir)
	var errs []error
	for _, a := range list {
		if mine(a.File, s.o.Name) && a.File != just && a.Manifest != nil && !a.Good() {
			errs = append(errs, os.Remove(a.File))
		}
	}
	return errors.Join(append(errs, err)...)
}

// prune removes what is older than the last Keep good ones, and what killed processes left. The one that was just written
// and verified stays in any case.
func (s *Schedule) prune(just string) error {
	list, err := List(s.o.Dir)
	if err != nil {
		return err
	}
	var errs []error
	good := 0
	for i := len(list) - 1; i >= 0; i-- {
		a := list[i]
		if !mine(a.File, s.o.Name) || a.File == just {
			continue
		}
		switch {
		case strings.HasSuffix(a.File, partial):
			errs = append(errs, removeUnlocked(a.File))
		case a.Manifest == nil: // somebody has to look at it
		case good >= s.o.Keep-1:
			errs = append(errs, os.Remove(a.File))
		case a.Good():
			good++
		}
	}
	return errors.Join(errs...)
}

// removeUnlocked removes a partial file unless somebody is writing it.
func removeUnlocked(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if lock(f) != nil {
		return nil
	}
	return os.Remove(name)
}
