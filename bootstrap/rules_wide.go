package bootstrap

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The rules of fields that are more than one value.

// sources: one that is removed is copied no more, what was copied stays. One of a new identity is copied from its start,
// which for a stream that has been a source already is a second time.
func sources(c *streamChange) (Class, string) {
	ids := func(ss []*jetstream.StreamSource) (ids, names []string) {
		for _, s := range ss {
			ids, names = append(ids, sourceIdentity(s)), append(names, s.Name)
		}
		return ids, names
	}
	have, names := ids(c.have.Sources)
	want, wanted := ids(c.want.Sources)
	for i, id := range want {
		if !slices.Contains(have, id) && slices.Contains(names, wanted[i]) {
			return Replays, fmt.Sprintf("%s is copied again from its start", wanted[i])
		}
	}
	return Safe, quoteAll("no longer copies ", gone(names, wanted))
}

// consumerLimits cannot be tightened below what a consumer has, once the declared consumers have been brought below; which
// for inactive_threshold is held like that of the consumer itself.
func consumerLimits(c *streamChange) (Class, string) {
	l := c.want.ConsumerLimits
	class := Safe
	var over []string
	for name, there := range c.there.Consumers {
		con := there.Config
		if d := c.consumer(name); d != nil {
			con = normalConsumer(*d, l, c.world.have.Limits)
			if exceeds(0, there.Config.InactiveThreshold, l) {
				class = Replays
			}
		}
		if exceeds(con.MaxAckPending, con.InactiveThreshold, l) {
			over = append(over, name)
		}
	}
	slices.Sort(over)
	if len(over) > 0 {
		return Conflict, quoteAll("beyond them: consumer ", over)
	}
	if class != Safe {
		return class, "a consumer's inactive_threshold has to be lowered for it"
	}
	return Safe, ""
}

func exceeds(maxAckPending int, inactive time.Duration, l jetstream.StreamConsumerLimits) bool {
	return l.MaxAckPending > 0 && maxAckPending > l.MaxAckPending || l.InactiveThreshold > 0 && inactive > l.InactiveThreshold
}

func gone(have, want []string) (out []string) {
	for _, s := range have {
		if !slices.Contains(want, s) {
			out = append(out, s)
		}
	}
	return out
}

// quoteAll is empty when there is nothing to quote.
func quoteAll(before string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return before + strings.Join(names, ", ")
}
