package audit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever attackers do, there are few records, and every refusal is counted in one of them.
func TestLimiter(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1_700_000_000, 0)
	l := newLimiter(time.Minute, now)
	records, counted, others := 0, 0, 0
	take := func(d due) {
		records++
		counted += d.Count
		if d.others {
			others++
		}
		if d.Count < 1 || d.Count > 1 && d.Since.IsZero() {
			t.Fatalf("%+v", d)
		}
	}
	const n, day = 200_000, 24 * time.Hour
	for range n {
		now = now.Add(day / n)
		r := Refusal{Entity: Permission, Who: Who{Account: "engine", Address: "10.0.0.1:1"}, Subject: fmt.Sprint("a.", random.IntN(10_000))}
		if random.IntN(2) == 0 {
			r = Refusal{Entity: Client, Who: Who{User: "engine", Address: fmt.Sprintf("10.0.0.1:%d", random.IntN(60_000))}, Reason: "authentication error"}
		}
		if d, ok := l.add(r, now); ok {
			take(d)
		}
		if random.IntN(10) == 0 {
			for _, d := range l.flush(now, false) {
				take(d)
			}
		}
		if len(l.kinds) > mostKinds {
			t.Fatalf("%d kinds are remembered", len(l.kinds))
		}
	}
	for _, d := range l.flush(now, true) {
		take(d)
	}
	if counted != n {
		t.Errorf("%d of %d are counted", counted, n)
	}
	if most := burst + int(day/refill) + int(day/time.Minute) + mostKinds; records > most || others == 0 {
		t.Errorf("%d records, %d of them of others; %d at most", records, others, most)
	}
}

// The first of a kind is a record at once; those that repeat it are one more, after a while.
func TestLimiterRepeats(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	l := newLimiter(time.Minute, now)
	add := func(port int) (due, bool) {
		return l.add(Refusal{Entity: Client, Who: Who{User: "a", Address: fmt.Sprintf("10.0.0.1:%d", port)}, Reason: "no"}, now)
	}
	if d, ok := add(1); !ok || d.Count != 1 || !d.Since.IsZero() {
		t.Errorf("the first: %+v %t", d, ok)
	}
	for port := range 50 {
		now = now.Add(time.Second)
		if d, ok := add(port); ok {
			t.Errorf("recorded: %+v", d)
		}
	}
	if out := l.flush(now, false); len(out) != 0 {
		t.Errorf("too early: %+v", out)
	}
	now = now.Add(10 * time.Second)
	if out := l.flush(now, false); len(out) != 1 || out[0].Count != 50 || !out[0].Since.Equal(now.Add(-59*time.Second)) {
		t.Errorf("%+v", out)
	}
	now = now.Add(time.Minute)
	if out := l.flush(now, false); len(out) != 0 || len(l.kinds) != 0 {
		t.Errorf("what does not go on is remembered: %+v %v", out, l.kinds)
	}
	if _, ok := add(3); !ok {
		t.Error("a new one, much later, is not recorded")
	}
}
