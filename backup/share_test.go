package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What several read costs them together as much time as the rate says; time in which nobody read is not saved up.
func TestShareTake(t *testing.T) {
	t.Parallel()
	s := &share{rate: 10 << 20}
	now := time.Unix(1, 0)
	for i, step := range []struct {
		after time.Duration
		n     int
		wait  time.Duration
	}{
		{0, 1 << 20, 100 * time.Millisecond},
		{0, 1 << 20, 200 * time.Millisecond}, // behind the other
		{200 * time.Millisecond, 1 << 20, 100 * time.Millisecond},
		{50 * time.Millisecond, 1 << 20, 150 * time.Millisecond},
		{time.Hour, 1 << 20, 100 * time.Millisecond},
		{0, 0, 100 * time.Millisecond},
	} {
		now = now.Add(step.after)
		if wait := s.take(step.n, now); wait != step.wait {
			t.Errorf("%d: waits %s, not %s", i, wait, step.wait)
		}
	}
}

// Somebody publishes where messages come again and again, and where nobody can tell.
func TestPulse(t *testing.T) {
	t.Parallel()
	var p pulse
	now := time.Unix(1, 0)
	for i, step := range []struct {
		after  time.Duration
		stored uint64
		err    error
		beats  bool
	}{
		{0, 100, nil, false}, // what is there is not what comes
		{lookEvery, 101, nil, false},
		{lookEvery, 101, nil, false},
		{lookEvery, 102, nil, false},
		{lookEvery, 103, nil, true},
		{lookEvery, 103, nil, true}, // between two messages
		{calmAfter, 103, nil, false},
		{lookEvery, 0, errors.New("no answer"), true},
		{lookEvery, 103, nil, false},
		{calmAfter, 104, nil, false}, // once now and then
		{calmAfter, 105, nil, false},
		{calmAfter, 106, nil, false},
	} {
		now = now.Add(step.after)
		if beats := p.look(step.stored, step.err, now); beats != step.beats {
			t.Errorf("%d: %v, not %v", i, beats, step.beats)
		}
	}
}

// While somebody publishes, reading takes the time that the rate gives it; before and afterwards it takes none.
func TestShareWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var publishing atomic.Bool
		stored := uint64(0)
		s := &share{rate: 1 << 20, known: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.watch(ctx, func(context.Context) (uint64, error) {
				if publishing.Load() {
					stored++
				}
				return stored, nil
			})
		}()
		if err := s.tell(ctx); err != nil {
			t.Error(err)
		}
		read := func() time.Duration {
			time.Sleep(2 * calmAfter) // so that it is seen
			begun := time.Now()
			if n, err := io.Copy(io.Discard, s.reader(ctx, bytes.NewReader(make([]byte, 3<<20)))); n != 3<<20 || err != nil {
				t.Error(n, err)
			}
			return time.Since(begun)
		}
		if took := read(); took != 0 {
			t.Errorf("alone it took %s", took)
		}
		publishing.Store(true)
		if took := read(); took.Round(time.Millisecond) != 3*time.Second {
			t.Errorf("beside a publisher it took %s", took)
		}
		publishing.Store(false)
		if took := read(); took != 0 {
			t.Errorf("afterwards it took %s", took)
		}
		publishing.Store(true)
		time.Sleep(2 * calmAfter)
		cancel()
		if _, err := io.Copy(io.Discard, s.reader(ctx, bytes.NewReader(make([]byte, 1)))); !errors.Is(err, context.Canceled) {
			t.Errorf("ended, it says %v", err)
		}
		<-ended
		if err := (&share{known: make(chan struct{})}).tell(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("ended before it could tell, it says %v", err)
		}
	})
}

// What is counted is what all streams have taken, whatever was deleted of it.
func TestStored(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	a := b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
	b.stream(jetstream.StreamConfig{Name: "B", Subjects: []string{"b.>"}})
	b.publish("a.x", 0, 3)
	b.publish("b.x", 0, 4)
	if err := a.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := newClient(b.nc, 0).stored(t.Context()); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// What is read is counted as it is when it is unpacked: that is what it costs, and messages that pack well were read forty times
// as fast as was meant.
func TestShareCountsMessages(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A"})
	random := seeded(1)
	for range 64 {
		data := make([]byte, 128<<10) // an eighth of it does not pack
		for i := range 16 << 10 {
			data[i] = byte(random.Uint32())
		}
		if _, err := b.js.Publish(t.Context(), "A", data); err != nil {
			t.Fatal(err)
		}
	}
	sh := &share{rate: 32 << 20, known: make(chan struct{})}
	close(sh.known)
	sh.lively.Store(true)
	var file bytes.Buffer
	begun := time.Now()
	if _, err := Create(t.Context(), b.nc, &file, CreateOptions{Temp: t.TempDir(), share: sh}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 180*time.Millisecond || file.Len() > 2<<20 {
		t.Errorf("8 MB, packed %d, at 32 MB a second took %v", file.Len(), took)
	}
}
