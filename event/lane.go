package event

import (
	"slices"
	"strings"
	"time"
)

// lane is what goes to one stream, in its order: of one domain, mostly. All of it is guarded by the publisher's lock,
// and nothing in it waits.
type lane struct {
	p       *Publisher
	stream  string // that answered; empty: not known yet
	mixed   bool   // more than one stream has answered
	order   uint64 // of the last event
	waiting int    // events without a result
	most    int    // of them at once, since the last batch was sent off: so many come again, perhaps

	queue      []*item // not sent, or to be sent again
	flying     int     // sent one by one
	open       *batch  // being filled
	committing *batch  // sent, without an answer

	pace   pace
	known  map[string]bool // subjects for which a stream has answered
	pause  time.Time       // until when nothing is sent: no stream answers
	limit  int             // messages of a batch
	not    time.Time       // no batches before
	gather time.Time       // until when events are awaited before a batch is sent off; zero: none are
	lull   time.Duration   // without a new one, after which they are not awaited any more
	came   uint64          // the order of the last that had come
	look   time.Time       // when to look whether there are new ones
	timer  *time.Timer     // that looks
}

// laneOf is the lane for a subject.
func (p *Publisher) laneOf(subject string) *lane {
	key := domain(subject)
	if l := p.lanes[key]; l != nil && l.mixed && l.waiting == 0 {
		p.split[key] = true
		delete(p.lanes, key)
	}
	if p.split[key] {
		key = subject
	}
	l := p.lanes[key]
	if l == nil {
		const many = 10_000
		if len(p.lanes) >= many { // there is an id in each, perhaps, and they do not come again
			for k, l := range p.lanes {
				if l.waiting == 0 {
					delete(p.lanes, k)
				}
			}
		}
		l = &lane{p: p, pace: newPace(), limit: p.largest}
		p.lanes[key] = l
	}
	return l
}

// domain is a subject's first two tokens.
func domain(subject string) string {
	i := strings.IndexByte(subject, '.') + 1
	if j := strings.IndexByte(subject[i:], '.'); i > 0 && j >= 0 {
		return subject[:i+j]
	}
	return subject
}

func (l *lane) push(it *item) {
	l.order++
	it.lane, it.order = l, l.order
	if l.waiting == 0 && time.Now().After(l.gather) { // and not just because a batch was stored
		l.most = 0
	}
	l.waiting++
	l.most = max(l.most, l.waiting)
	l.queue = append(l.queue, it)
	l.pump()
}

// remove takes an event back that was not sent, if it is still there.
func (l *lane) remove(it *item) bool {
	i := slices.Index(l.queue, it)
	if i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	return i >= 0
}

// pump sends what can be sent now.
func (l *lane) pump() {
	k := l.p.link
	if k == nil {
		return
	}
	now := time.Now()
	if now.Before(l.pause) {
		return
	}
	worth := l.worth(now)
	for more := true; more && l.p.link == k; {
		for len(l.queue) > 0 && l.p.link == k && l.step(k, worth, now) {
		}
		more = l.open != nil && l.committing == nil && l.p.link == k && l.maybeCommit(now)
	}
}

// step does something about the first event of the queue, or returns false.
func (l *lane) step(k *link, worth int, now time.Time) bool {
	it := l.queue[0]
	it.alone = it.alone || len(it.data) > k.room
	switch {
	case l.open != nil && (it.alone || !l.open.fits(it, l.limit)): // that has to go first
		return false
	case l.open != nil:
		l.pop()
		l.open.add(it, now)
	case !it.alone && l.together(worth) >= worth:
		l.open = k.newBatch(l, now)
	case l.committing != nil: // nothing passes a batch, for that may be refused and then sent again
		return false
	case !it.alone && now.Before(l.gather): // more will come
		return false
	case l.flying >= min(worth, widest):
		return false
	default:
		l.pop()
		k.publish(it, now)
	}
	return true
}

func (l *lane) pop() {
	l.queue[0] = nil
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = nil
	}
}

// together is how many events at the head of the queue can be in one batch; beyond enough it does not count.
func (l *lane) together(enough int) int {
	n := 0
	for n < len(l.queue) && n < enough && !l.queue[n].alone {
		n++
	}
	return n
}

// worth is from how many waiting events on there is to be a batch.
func (l *lane) worth(now time.Time) int {
	if n := l.p.worth(&l.pace, now); n <= l.limit && !l.mixed && !now.Before(l.not) {
		return n
	}
	return widest + 1
}

// maybeCommit sends the open batch off: when it is full, when all are in it that may come, or when those were awaited
// for long enough.
func (l *lane) maybeCommit(now time.Time) bool {
	b := l.open
	switch {
	case len(l.queue) > 0: // it is full
	case len(b.items) >= min(l.most, l.limit): // there is nobody else
	case l.flying > 0: // whoever waits for one of these comes again
		return false
	case l.gather.IsZero():
		l.await(now, len(b.items))
		return false
	case now.Before(l.gather):
		return false
	}
	l.open, l.committing = nil, b
	l.gather, l.most = time.Time{}, l.waiting
	b.commit(now)
	return true
}

// await lets events gather, now that so many were stored at once and whoever waited for them may come again: until all
// are there, no more come, or it has taken as long as a batch takes: one that goes without them costs a second one.
func (l *lane) await(now time.Time, n int) {
	takes := l.pace.takes(n)
	l.gather, l.lull, l.came = now.Add(takes), takes/4, l.order
	l.lookLater(now)
}

func (l *lane) lookLater(now time.Time) {
	l.look = now.Add(l.lull)
	if l.timer == nil {
		l.timer = time.AfterFunc(l.lull, l.lookAround)
	} else {
		l.timer.Reset(l.lull)
	}
}

func (l *lane) lookAround() {
	l.p.mu.Lock()
	defer l.p.unlock()
	switch now := time.Now(); {
	case now.Before(l.look): // the timer was set again while this waited for the lock
	case l.came != l.order && now.Before(l.gather):
		l.came = l.order
		l.lookLater(now)
	default:
		l.gather = now
		l.pump()
	}
}
