package backup

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// scheduleOf is a schedule of a bus into a folder of its own.
func scheduleOf(b *bus, keep int) *Schedule {
	return NewSchedule(ScheduleOptions{
		Every: time.Hour, Dir: b.t.TempDir(), Keep: keep, Name: "bus", Version: "test", Log: slog.New(slog.DiscardHandler),
		Connect: func() (*nats.Conn, error) { return nats.Connect("", nats.InProcessServer(b.srv)) },
	})
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// at is the name of an archive of a time, a second each.
func at(i int) time.Time { return time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC) }

// A schedule keeps the last good ones. Others' files, and those that nobody can read, it leaves alone.
func TestScheduleKeeps(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
	s := scheduleOf(b, 2)
	for i := range 4 {
		b.publish("a.x", i, 1)
		run, err := s.take(t.Context(), at(i))
		if err != nil {
			t.Fatal(err)
		}
		if run.Messages != uint64(i+1) || run.Streams != 1 || run.Size == 0 || run.Seconds <= 0 {
			t.Errorf("%+v", run)
		}
		if i == 1 {
			for _, name := range []string{"other.tar.gz", "bus-20250101T000000Z.tar.gz", "bus-mine.tar.gz", "notes.txt"} {
				if err := os.WriteFile(filepath.Join(s.o.Dir, name), []byte(name), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"bus-20250101T000001Z.tar.gz.partial", "bus-20250101T000002Z.tar.gz.partial"} {
				f, err := lockedFile(filepath.Join(s.o.Dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(name, "01Z") {
					defer f.Close() // somebody is still writing it
				} else if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.prune(run.File); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"bus-20250101T000000Z.tar.gz", "bus-20250101T000001Z.tar.gz.partial", "bus-20260101T000002Z.tar.gz", "bus-20260101T000003Z.tar.gz", "bus-mine.tar.gz", "notes.txt", "other.tar.gz"}
	if got := files(t, s.o.Dir); !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if last := LastRun(s.o.Dir, "bus"); last == nil || !strings.HasSuffix(last.File, "bus-20260101T000003Z.tar.gz") {
		t.Errorf("%+v", last)
	}
	list, err := List(s.o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	for i, a := range list {
		if (a.Manifest == nil) != (i >= 2) || (a.Problem == "") != (i < 2) {
			t.Errorf("%d: %+v", i, a)
		}
		problems = append(problems, a.Problem)
	}
	if len(list) != 6 || !strings.Contains(strings.Join(problems, "\n"), "not finished") {
		t.Errorf("%v", problems)
	}
}

// While backups fail, whatever the reason, none of those that are there is removed; the reason is told.
func TestScheduleFails(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
	b.publish("a.x", 0, 10)
	s := scheduleOf(b, 1)
	var log lines
	s.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	s.once(t.Context())
	if st := s.Status(); st.Last == nil || st.Failed != nil || !st.Running.IsZero() {
		t.Fatalf("%+v", st)
	}
	good := files(t, s.o.Dir)

	connect := s.o.Connect
	s.o.Connect = func() (*nats.Conn, error) { return nil, errors.New("nobody is there") }
	s.once(t.Context())
	s.once(t.Context())
	if st := s.Status(); st.Failed == nil || st.Failed.Times != 2 || st.Failed.Error != "nobody is there" || st.Last == nil {
		t.Errorf("%+v", st)
	}
	if due := s.due(time.Now()); due.After(time.Now().Add(retry)) {
		t.Errorf("it is tried again at %s", due)
	}
	s.o.Connect = connect

	b.stop()
	b.damage("A", "message 5")
	b.start()
	until(t, "another second, for another name", func() bool { return time.Now().UTC().Format(stamp) != s.Status().Last.Moment.Format(stamp) })
	s.once(t.Context())
	if st := s.Status(); st.Failed == nil || st.Failed.Times != 3 || !strings.Contains(st.Failed.Error, "stream A: damaged in its store: message 6 cannot be read; what can be read is in ") {
		t.Errorf("%+v", st.Failed)
	}
	if now := files(t, s.o.Dir); len(now) != 2 || now[0] != good[0] { // the damaged one is there as well
		t.Errorf("%v, and there was %v", now, good)
	}
	if last := LastRun(s.o.Dir, "bus"); filepath.Base(last.File) != good[0] {
		t.Errorf("%+v", last)
	}
	for _, want := range []string{"backed up", "nobody is there", "damaged in its store"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &log)
		}
	}
}

type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

// The next backup is due when Every has passed since the last good one, also of an earlier process; at once if there is
// none; and never later than Every from now, however the clock was set.
func TestScheduleDue(t *testing.T) {
	t.Parallel()
	now := at(0)
	for _, c := range []struct {
		what string
		last *Run
		fail *Failure
		want time.Duration
	}{
		{"none yet", nil, nil, 0},
		{"one", &Run{Moment: now.Add(-20 * time.Minute)}, nil, 40 * time.Minute},
		{"overdue", &Run{Moment: now.Add(-3 * time.Hour)}, nil, -2 * time.Hour},
		{"failed", &Run{Moment: now.Add(-3 * time.Hour)}, &Failure{Time: now.Add(-10 * time.Second)}, 50 * time.Second},
		{"from the future", &Run{Moment: now.Add(100 * time.Hour)}, nil, time.Hour},
	} {
		s := &Schedule{o: ScheduleOptions{Every: time.Hour}}
		s.state.Store(&Status{Last: c.last, Failed: c.fail})
		if got := s.due(now).Sub(now); got != c.want {
			t.Errorf("%s: due in %s, not %s", c.what, got, c.want)
		}
	}
}

// A schedule runs until its context ends, and ends what it is doing.
func TestScheduleRuns(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
	s := scheduleOf(b, 3)
	s.o.Every = time.Second
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	until(t, "two backups", func() bool { list, _ := List(s.o.Dir); return len(list) >= 2 })
	stop()
	<-done
	if st := s.Status(); st.Last == nil || st.Failed != nil {
		t.Errorf("%+v %+v", st, st.Failed)
	}
	again := NewSchedule(s.o)
	if st := again.Status(); st.Last == nil || st.Last.Moment.Before(s.Status().Last.Moment) { // one may have been under way
		t.Errorf("a new process does not know the last one: %+v", st.Last)
	}
}
