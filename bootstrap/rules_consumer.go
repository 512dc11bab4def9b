package bootstrap

import (
	"fmt"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// consumerEdit is a declared consumer, with what is there of it.
type consumerEdit struct {
	stream   *streamEdit
	declared jetstream.ConsumerConfig
	there    *Consumer // nil: to be created
}

// limits are those that its stream will have.
func (e *consumerEdit) limits() jetstream.StreamConsumerLimits {
	s := e.stream
	want := s.declared
	if s.there == nil || want.ConsumerLimits == s.there.Config.ConsumerLimits {
		return want.ConsumerLimits
	}
	if class, _ := consumerLimits(&streamChange{&s.there.Config, &want, s}); class == Conflict {
		return s.there.Config.ConsumerLimits
	}
	return want.ConsumerLimits
}

func (e *consumerEdit) normal(c jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	return normalConsumer(c, e.limits(), e.stream.world.have.Limits)
}

// have is what is there. A pause that is not declared is the operator's, not a difference.
func (e *consumerEdit) have() jetstream.ConsumerConfig {
	c := normalConsumer(e.there.Config, jetstream.StreamConsumerLimits{}, natsserver.JSLimitOpts{})
	if e.declared.PauseUntil == nil {
		c.PauseUntil = nil
	}
	c.Name = e.there.Info.Name // older servers leave it out of the config
	return c
}

func (e *consumerEdit) kind(a Allow) kind[jetstream.ConsumerConfig] {
	return kind[jetstream.ConsumerConfig]{
		have:     e.have(),
		declared: e.declared,
		normal:   e.normal,
		judge: func(f string, h, w jetstream.ConsumerConfig) (Class, string) {
			if rule, ok := consumerRules[f]; ok {
				return rule(&consumerChange{&h, &w, e})
			}
			return Safe, ""
		},
		refuse: func(c jetstream.ConsumerConfig) string { return refuseConsumer(c, e.stream.settledConfig(a)) },
	}
}

// settledConfig is the stream as it will be with the allowance: what is held there decides what fits its consumers.
func (e *streamEdit) settledConfig(a Allow) jetstream.StreamConfig {
	if e.there == nil {
		return e.normal(e.declared)
	}
	send, _, _ := settle(e.kind(), a)
	return e.normal(send)
}

// consumerChange is what a rule looks at: two normalised configs of one consumer.
type consumerChange struct {
	have, want *jetstream.ConsumerConfig
	*consumerEdit
}

// waiting is what has been delivered and not acknowledged.
func (c *consumerChange) waiting() int { return c.there.Info.NumAckPending }

// idle: nothing is stored that could be skipped.
func (c *consumerChange) idle() bool { return c.stream.there.State.Msgs == 0 }

type consumerRule func(*consumerChange) (Class, string)

// consumerRules says what changing a field of a consumer does (nats-server consumer.go checkNewConsumerConfig and
// updateConfig). A field that is not listed can be changed and costs nothing.
var consumerRules = map[string]consumerRule{
	"deliver_policy": fixed("where a consumer starts cannot change"),
	"opt_start_seq":  fixed("where a consumer starts cannot change"),
	"opt_start_time": fixed("where a consumer starts cannot change"),
	"ack_policy":     fixed("a consumer's ack policy cannot change"),
	"replay_policy":  fixed("a consumer's replay policy cannot change"),
	"mem_storage":    fixed("a consumer's storage cannot change"),
	"max_waiting":    fixed("a consumer's max_waiting cannot change"),
	"idle_heartbeat": fixed("a consumer's heartbeat cannot change"),
	"flow_control":   fixed("a consumer's flow control cannot change"),
	"deliver_subject": func(c *consumerChange) (Class, string) {
		switch {
		case c.have.DeliverSubject == "" || c.want.DeliverSubject == "":
			return Conflict, "pull cannot become push, nor push pull"
		case c.there.Info.PushBound:
			return Conflict, "somebody listens on " + c.have.DeliverSubject
		case c.waiting() > 0:
			return Replays, "what is not acknowledged is delivered again, to the new subject"
		}
		return Safe, ""
	},
	"num_replicas": func(c *consumerChange) (Class, string) {
		if c.want.Replicas > 1 && !c.stream.world.have.Clustered {
			return Conflict, "the server is not part of a cluster"
		}
		return Safe, ""
	},
	"filter_subjects": func(c *consumerChange) (Class, string) {
		if c.stream.there.Config.Retention == jetstream.WorkQueuePolicy { // for ever
			if why := c.taken(presentFilters); why != "" {
				return Conflict, why
			}
		}
		lost := narrowed(c.have.FilterSubjects, c.want.FilterSubjects)
		switch {
		case len(lost) > 0 && c.idle():
			return Safe, "the stream is empty"
		case len(lost) > 0 && c.stream.there.Config.Retention == jetstream.InterestPolicy:
			return Loses, "no longer delivers " + strings.Join(lost, ", ") + ", which is deleted where no other consumer waits for it"
		case len(lost) > 0:
			return Skips, "no longer delivers " + strings.Join(lost, ", ")
		case c.there.Info.Delivered.Stream > 0:
			return Safe, fmt.Sprintf("what is new to it is delivered from sequence %d on", c.there.Info.Delivered.Stream+1)
		}
		return Safe, ""
	},
	"max_deliver": func(c *consumerChange) (Class, string) {
		if lowered(c.have.MaxDeliver, c.want.MaxDeliver) && c.waiting() > 0 {
			return Skips, "what has been delivered so often and is not acknowledged is given up"
		}
		return Safe, ""
	},
	"ack_wait": func(c *consumerChange) (Class, string) {
		if c.want.AckWait < c.have.AckWait && c.waiting() > 0 {
			return Replays, "what is being worked on is delivered again earlier"
		}
		return Safe, ""
	},
	"backoff": func(c *consumerChange) (Class, string) {
		if sooner(c.have, c.want) && c.waiting() > 0 {
			return Replays, "what is being worked on is delivered again earlier"
		}
		return Safe, ""
	},
	"headers_only": func(c *consumerChange) (Class, string) {
		if c.want.HeadersOnly {
			return Skips, "payloads are no longer delivered"
		}
		return Safe, ""
	},
	"inactive_threshold": func(c *consumerChange) (Class, string) {
		if lowered(c.have.InactiveThreshold, c.want.InactiveThreshold) {
			return Replays, "when nobody asks for so long the consumer is deleted; made anew it delivers everything again"
		}
		return Safe, ""
	},
	"pause_until": func(c *consumerChange) (Class, string) {
		if c.want.PauseUntil != nil {
			return Safe, "nothing is delivered until then"
		}
		return Safe, ""
	},
}

func fixed(why string) consumerRule {
	return func(*consumerChange) (Class, string) { return Conflict, why }
}

// narrowed lists the filters of which something is no longer covered. No filter is all.
func narrowed(have, want []string) (lost []string) {
	if len(want) == 0 {
		return nil
	}
	if len(have) == 0 {
		have = []string{">"}
	}
	for _, h := range have {
		if !covered(h, want) {
			lost = append(lost, h)
		}
	}
	return lost
}

// sooner reports whether some redelivery would come earlier than it does.
func sooner(have, want *jetstream.ConsumerConfig) bool {
	after := func(c *jetstream.ConsumerConfig, i int) time.Duration {
		if len(c.BackOff) == 0 {
			return c.AckWait
		}
		return c.BackOff[min(i, len(c.BackOff)-1)]
	}
	for i := range max(len(have.BackOff), len(want.BackOff)) {
		if after(want, i) < after(have, i) {
			return true
		}
	}
	return false
}
