package bootstrap

import (
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// around puts the step of a consumer before or after that of its stream. Mostly the stream comes first. But limits that
// become tighter may not be exceeded by any consumer, and where only interest keeps a message, it has to be there before
// the stream takes the message or drops those that nobody waits for. A consumer that cannot be changed before, because
// the old limits forbid it, is brought below both in a step between.
func around(of, s *step) (more []*step) {
	e, update := s.change.consumer, s.change.Action == Update
	if of.change.Action == Create {
		s.deps = append(s.deps, of)
		return nil
	}
	changes := func(names ...string) bool {
		return slices.ContainsFunc(of.change.Fields, func(f Field) bool { return slices.Contains(names, f.Name) })
	}
	have, want := of.change.stream.there.Config, of.change.stream.declared
	limits := changes("consumer_limits")
	tight := limits && (lowered(have.ConsumerLimits.MaxAckPending, want.ConsumerLimits.MaxAckPending) ||
		lowered(have.ConsumerLimits.InactiveThreshold, want.ConsumerLimits.InactiveThreshold))
	interest := want.Retention == jetstream.InterestPolicy && !changes("max_consumers", "num_replicas")
	fits := !limits || s.same(have.ConsumerLimits)
	switch {
	case fits && (interest || tight && update):
		of.deps = append(of.deps, s)
		return nil
	case tight && update && exceeds(e.there.Config.MaxAckPending, e.there.Config.InactiveThreshold, want.ConsumerLimits):
		half := s.clamp(want.ConsumerLimits)
		of.deps = append(of.deps, half)
		more = append(more, half)
	}
	s.deps = append(s.deps, of)
	return more
}
