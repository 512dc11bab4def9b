package event

import "time"

// Eager makes batches of two and more, whatever they cost: in memory they would never be worth it.
func Eager(p *Publisher) { p.worth = func(*pace, time.Time) int { return 2 } }

// Quiet is how long an answer may take before somebody looks why it does not come.
func Quiet(d time.Duration) Option { return func(p *Publisher) { p.quiet = d } }

// Lanes is how many lanes there are.
func Lanes(p *Publisher) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lanes)
}

// Single makes no batches.
func Single(p *Publisher) { p.worth = func(*pace, time.Time) int { return widest + 1 } }

// Broken is closed when the connection has broken.
func (p *Publisher) Broken() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return p.link.ctx.Done()
}
