package bustest

import "time"

// patience is how long something may take.
type patience time.Duration

func (p patience) String() string          { return p.duration().String() }
func (p patience) duration() time.Duration { return time.Duration(p) }

// until asks until the answer is yes, or patience ends. Most answers come within a millisecond: it asks soon at first.
func (p patience) until(ok func() bool) bool {
	deadline := time.Now().Add(p.duration())
	for pause := 50 * time.Microsecond; !ok(); pause = min(2*pause, 2*time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}
