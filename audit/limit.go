package audit

import (
	"net"
	"time"
)

const (
	mostKinds = 64               // refusals that are counted apart
	burst     = 60               // records about refusals at once,
	refill    = 10 * time.Second // and one more in so long: at most some 8,700 a day, whatever attackers do
)

// what is one kind of refusal: what repeats it is counted, not recorded again.
type what struct {
	entity, account, user, host, reason, subject string
}

func (r Refusal) what() what {
	host, _, err := net.SplitHostPort(r.Who.Address)
	if err != nil {
		host = r.Who.Address
	}
	return what{r.Entity, r.Who.Account, r.Who.User, host, r.Reason, r.Action + " " + r.Subject}
}

// tallied is what has happened of a kind since it was recorded last.
type tallied struct {
	last  Refusal
	count int
	since time.Time
	next  time.Time // when it may be recorded
}

// limiter decides which refusals become records. Each is counted in one.
type limiter struct {
	every  time.Duration
	kinds  map[what]*tallied
	others map[string]*tallied // by entity: of kinds beyond what is counted apart
	tokens float64
	filled time.Time
}

func newLimiter(every time.Duration, now time.Time) *limiter {
	return &limiter{every: every, kinds: map[what]*tallied{}, others: map[string]*tallied{}, tokens: burst, filled: now}
}

// due is a refusal, or several, that is to be recorded.
type due struct {
	Refusal
	repeated
	others bool // of several kinds; only Entity is known
}

// add counts one, and returns it if it is to be recorded at once.
func (l *limiter) add(r Refusal, now time.Time) (d due, at bool) {
	k := r.what()
	t, known := l.kinds[k]
	if !known && len(l.kinds) >= mostKinds {
		if t, known = l.others[r.Entity]; !known {
			t = &tallied{last: Refusal{Entity: r.Entity}, next: now.Add(l.every)}
			l.others[r.Entity] = t
		}
		t.add(now)
		return d, false
	}
	if !known {
		t = &tallied{}
		l.kinds[k] = t
	}
	t.last = r
	t.add(now)
	if now.Before(t.next) || !l.take(now) {
		return d, false
	}
	return due{Refusal: r, repeated: t.record(now, l.every)}, true
}

func (t *tallied) add(now time.Time) {
	if t.count == 0 {
		t.since = now
	}
	t.count++
}

// record says how often it happened, and begins to count anew.
func (t *tallied) record(now time.Time, every time.Duration) repeated {
	r := repeated{Count: t.count}
	if t.count > 1 {
		r.Since = t.since.UTC()
	}
	t.count, t.next = 0, now.Add(every)
	return r
}

func (l *limiter) take(now time.Time) bool {
	l.tokens = min(burst, l.tokens+now.Sub(l.filled).Seconds()/refill.Seconds())
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// flush is what has been counted and may be recorded by now; all of it at the end.
func (l *limiter) flush(now time.Time, all bool) (out []due) {
	for k, t := range l.kinds {
		switch {
		case !all && now.Before(t.next):
		case t.count == 0:
			delete(l.kinds, k)
		case all || l.take(now):
			out = append(out, due{Refusal: t.last, repeated: t.record(now, l.every)})
		}
	}
	for k, t := range l.others {
		if all || !now.Before(t.next) {
			out = append(out, due{Refusal: t.last, repeated: t.record(now, l.every), others: true})
			delete(l.others, k)
		}
	}
	return out
}
