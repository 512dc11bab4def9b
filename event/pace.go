package event

import "time"

// pace learns what publishing costs here, one by one and in batches, and says what is faster. It has to be learned: on a
// disk where each single message waits for its own fsync, batches win from some twenty on; where nothing waits for a
// disk they hardly ever do, because the server makes files for each.
type pace struct {
	single time.Duration // one more message, while others are under way
	batch  time.Duration // a batch's fixed part; each message adds a perMessage-th of it
	tried  time.Time     // when that was measured

	begin time.Time // of the current series of acks
	acks  int
}

const (
	fewest     = 12                      // waiting messages: with fewer a batch is never worth it, whatever was measured
	largest    = 2000                    // messages of a batch, which is what the bus takes
	undeclared = 1000                    // messages of a batch that nats-server takes if nothing else is declared
	widest     = 4096                    // single messages under way
	perMessage = 400                     // as measured: the fixed part 3 ms, a message 7.5 µs
	usual      = 170 * time.Microsecond  // a single message before one was measured: an fsync
	hopeful    = 1500 * time.Microsecond // a batch before one was measured, or not for long: it is worth a try
	forget     = 2 * time.Second
	series     = 5 * time.Millisecond // acks come in bursts; over so long they say how many there are
)

func newPace() pace { return pace{single: usual, batch: hopeful} }

// acked notes the ack of a single message; more tells whether others are under way.
func (p *pace) acked(now time.Time, more bool) {
	switch took := now.Sub(p.begin); {
	case !more:
		p.acks = 0
		return
	case p.acks == 0:
		p.begin = now
	case took >= series && p.acks >= fewest:
		p.single = learn(p.single, took/time.Duration(p.acks))
		p.begin, p.acks = now, 0
	}
	p.acks++
}

// committed notes how long a batch of n took.
func (p *pace) committed(now time.Time, n int, took time.Duration) {
	p.batch = learn(p.batch, took*perMessage/time.Duration(perMessage+n))
	p.tried, p.acks = now, 0
}

// learn moves what was known a little towards what was measured, however far away that is: it follows the median, and
// hiccups of the disk do not count.
func learn(known, measured time.Duration) time.Duration {
	if step := known / 4; measured > known {
		return min(known+step, measured)
	} else {
		return max(known-step, measured)
	}
}

// worth is from how many waiting messages on a batch is faster; beyond widest: never.
func (p *pace) worth(now time.Time) int {
	batch := p.batch
	if now.Sub(p.tried) > forget {
		batch = min(batch, hopeful)
	}
	gain := p.single - batch/perMessage // by each message
	if gain <= 0 || batch/gain >= widest {
		return widest + 1
	}
	return max(fewest, int(batch*5/4/gain)) // a little more: what is even is not worth the trouble
}

// takes is how long a batch of n is expected to take.
func (p *pace) takes(n int) time.Duration { return p.batch + p.batch*time.Duration(n)/perMessage }
