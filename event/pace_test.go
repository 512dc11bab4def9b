package event

import (
	"testing"
	"time"
)

// A machine, as it would answer: what a single message costs while others wait, and what a batch costs.
type machine struct{ single, batch, each time.Duration }

// Whatever the machine, pace comes to know what is faster on it, and does not forget it for a hiccup.
func TestPace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		machine
		from, to int // worth is between these
	}{
		"an fsync for each":      {machine{170 * time.Microsecond, 3 * time.Millisecond, 8 * time.Microsecond}, 18, 30},
		"a slow disk":            {machine{5 * time.Millisecond, 50 * time.Millisecond, 10 * time.Microsecond}, fewest, 16},
		"nothing waits":          {machine{8 * time.Microsecond, 3 * time.Millisecond, 8 * time.Microsecond}, 1000, widest + 1},
		"a fast disk":            {machine{30 * time.Microsecond, 300 * time.Microsecond, 4 * time.Microsecond}, fewest, 80},
		"memory, and no files":   {machine{8 * time.Microsecond, 100 * time.Microsecond, 4 * time.Microsecond}, fewest, 80},
		"a disk that is no disk": {machine{4 * time.Microsecond, 5 * time.Millisecond, 4 * time.Microsecond}, 1000, widest + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, now := newPace(), time.Now()
			hiccup := now
			takes := func(cost time.Duration) time.Duration {
				if now.Sub(hiccup) > 200*time.Millisecond {
					hiccup = now
					cost += 50 * time.Millisecond
				}
				now = now.Add(cost)
				return cost
			}
			for range 100_000 {
				takes(c.single)
				p.acked(now, true)
			}
			for range 200 {
				cost := takes(c.batch + 100*c.each)
				p.committed(now, 100, cost)
			}
			if n := p.worth(now); n < c.from || n > c.to {
				t.Errorf("worth from %d on, not from %d to %d: %+v", n, c.from, c.to, p)
			}
		})
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]string{
		"events.transactions.created": "events.transactions", "events.clearing.window.opened": "events.clearing",
		"orders.created": "orders.created", "orders": "orders", "": "", "a.b.": "a.b",
	} {
		if got := domain(subject); got != want {
			t.Errorf("%q: %q", subject, got)
		}
	}
}

// Those whose events were in a batch are awaited for the next, although for a moment nothing waits.
func TestManyAreAwaited(t *testing.T) {
	t.Parallel()
	l := &lane{p: &Publisher{}, pace: newPace(), limit: largest, most: 64}
	l.gather = time.Now().Add(time.Hour)
	if l.push(&item{}); l.most != 64 {
		t.Errorf("%d are awaited, not 64", l.most)
	}
	l = &lane{p: &Publisher{}, pace: newPace(), limit: largest, most: 64}
	l.gather = time.Now().Add(-time.Hour)
	if l.push(&item{}); l.most != 1 {
		t.Errorf("%d are awaited, although they were here long ago", l.most)
	}
}
