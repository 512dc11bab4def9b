package bootstrap

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deltran/deltran-bus/config"
)

// dice makes declarations over many fields; most values are small, so that two of them meet.
type dice struct{ *rand.Rand }

func (d dice) one(n int) bool { return d.IntN(n) == 0 }

func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func (d dice) stream(name string) config.Stream {
	c := jetstream.StreamConfig{Name: name,
		Description:       pick(d, "", "x"),
		Retention:         pick(d, jetstream.LimitsPolicy, jetstream.LimitsPolicy, jetstream.InterestPolicy, jetstream.WorkQueuePolicy),
		MaxMsgs:           pick[int64](d, 0, -1, 2, 5),
		MaxBytes:          pick[int64](d, 0, 0, 500, 1<<20),
		MaxMsgsPerSubject: pick[int64](d, 0, 0, 1, 3),
		MaxMsgSize:        pick[int32](d, 0, 0, 1024),
		MaxConsumers:      pick(d, 0, 0, 20),
		MaxAge:            pick(d, 0, 0, time.Minute, time.Hour, 3*time.Hour),
		Duplicates:        pick(d, 0, 0, 30*time.Second, 2*time.Minute),
		Discard:           pick(d, jetstream.DiscardOld, jetstream.DiscardNew),
		Storage:           pick(d, jetstream.MemoryStorage, jetstream.MemoryStorage, jetstream.MemoryStorage, jetstream.FileStorage),
		Compression:       pick(d, jetstream.NoCompression, jetstream.S2Compression),
		FirstSeq:          pick[uint64](d, 0, 0, 0, 7),
		AllowDirect:       d.one(2), NoAck: d.one(6),
		DenyDelete: d.one(8), DenyPurge: d.one(8), AllowRollup: d.one(4), AllowMsgTTL: d.one(6), AllowMsgSchedules: d.one(10),
		AllowMsgCounter: d.one(20), AllowAtomicPublish: d.one(4), AllowBatchPublish: d.one(6), DiscardNewPerSubject: d.one(6),
		Sealed:                 d.one(25),
		SubjectDeleteMarkerTTL: pick(d, 0, 0, 0, 0, time.Minute),
		Metadata:               pick(d, nil, map[string]string{"a": "b"}),
		ConsumerLimits:         pick(d, jetstream.StreamConsumerLimits{}, jetstream.StreamConsumerLimits{}, jetstream.StreamConsumerLimits{MaxAckPending: 100}, jetstream.StreamConsumerLimits{InactiveThreshold: time.Hour}),
	}
	for _, s := range []string{"a", "b", "c.*", "c.*.>"} {
		if d.one(2) {
			c.Subjects = append(c.Subjects, name+"."+s)
		}
	}
	switch {
	case d.one(15):
		c.Mirror, c.Subjects = &jetstream.StreamSource{Name: pick(d, "X", "Y")}, nil
	case d.one(6):
		c.Sources = []*jetstream.StreamSource{{Name: "X", FilterSubject: pick(d, "", "x.a")}, {Name: pick(d, "Y", "Z")}}
	}
	if d.one(8) {
		c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: name + ".a", Destination: name + ".t"}
	}
	if d.one(8) {
		c.RePublish = &jetstream.RePublish{Source: pick(d, "", ">"), Destination: "r." + name + ".>"}
	}
	s := config.Stream{StreamConfig: c}
	for i := range d.IntN(3) {
		s.Consumers = append(s.Consumers, d.consumer(name, fmt.Sprintf("c%d", i)))
	}
	return s
}

func (d dice) consumer(stream, name string) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{Name: name, Durable: name,
		Description:       pick(d, "", "x"),
		DeliverPolicy:     pick(d, jetstream.DeliverAllPolicy, jetstream.DeliverAllPolicy, jetstream.DeliverAllPolicy, jetstream.DeliverNewPolicy),
		AckPolicy:         pick(d, jetstream.AckExplicitPolicy, jetstream.AckExplicitPolicy, jetstream.AckExplicitPolicy, jetstream.AckAllPolicy, jetstream.AckNonePolicy),
		AckWait:           pick(d, 0, 0, 10*time.Second, time.Minute),
		MaxDeliver:        pick(d, 0, -1, 2, 5),
		BackOff:           pick(d, nil, nil, []time.Duration{time.Second, time.Minute}, []time.Duration{time.Hour}),
		ReplayPolicy:      pick(d, jetstream.ReplayInstantPolicy, jetstream.ReplayInstantPolicy, jetstream.ReplayInstantPolicy, jetstream.ReplayOriginalPolicy),
		SampleFrequency:   pick(d, "", "50%"),
		MaxWaiting:        pick(d, 0, 0, 0, 9),
		MaxAckPending:     pick(d, 0, 0, -1, 5, 50),
		HeadersOnly:       d.one(5),
		MaxRequestBatch:   pick(d, 0, 0, 5),
		MaxRequestExpires: pick(d, 0, 0, time.Second),
		InactiveThreshold: pick(d, 0, 0, time.Minute, time.Hour),
		MemoryStorage:     d.one(8),
		Metadata:          pick(d, nil, map[string]string{"a": "b"}),
	}
	switch d.IntN(4) {
	case 0:
		c.FilterSubject = pick(d, stream+".a", stream+".c.>")
	case 1:
		c.FilterSubjects = pick(d, []string{stream + ".b"}, []string{stream + ".b", stream + ".a"}, []string{stream + ".c.*", stream + ".c.*.>"})
	}
	switch {
	case d.one(6):
		c.DeliverSubject, c.MaxWaiting, c.IdleHeartbeat = "d."+stream+"."+name, 0, pick(d, 0, time.Second)
		c.FlowControl = c.IdleHeartbeat > 0 && d.one(2)
		c.MaxRequestBatch, c.MaxRequestExpires = 0, 0
		if c.AckPolicy == jetstream.AckNonePolicy {
			c.MaxAckPending = 0
		}
	case d.one(6):
		c.PriorityPolicy, c.PriorityGroups = pick(d, jetstream.PriorityPolicyOverflow, jetstream.PriorityPolicyPinned), []string{"g"}
	}
	return c
}

// valid are declarations that a server could take as they are.
func (d dice) valid(name string) []config.Stream {
	for {
		s := d.stream(name)
		want := []config.Stream{s}
		ok := true
		for _, c := range Diff(want, Observed{}).Changes {
			ok = ok && c.Class != Conflict
		}
		if ok && !(s.Retention == jetstream.WorkQueuePolicy && len(s.Consumers) > 1) {
			return want
		}
	}
}

// Any valid declaration after any other: what is allowed is taken by the server, what is left is in conflict or held, a
// conflict is refused, and nothing that is called harmless loses a message.
func TestAnyDeclarationAfterAnyOther(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.keep()
	rounds := 120
	if testing.Short() {
		rounds = 30
	}
	for i := range rounds {
		name := unique()
		d := dice{rand.New(rand.NewPCG(uint64(i), 1))}
		from, to := d.valid(name), d.valid(name)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("round %d: %s\nfrom %s\nto   %s", i, fmt.Sprintf(format, args...), fieldsJSON(from), fieldsJSON(to))
		}
		if _, err := Apply(b.ctx, b.js, b.diff(from), Allow{}); err != nil {
			fail("create: %v", err)
		}
		if p := b.diff(from); !p.Empty() {
			fail("created, but:\n%s", text(p))
		}
		for _, s := range from[0].Subjects {
			if s[len(s)-1] != '>' && s[len(s)-1] != '*' {
				for range 3 {
					_ = b.nc.Publish(s, []byte("x")) // a stream may refuse it: full, a counter, sealed
				}
			}
		}
		if err := b.nc.Flush(); err != nil {
			fail("%v", err)
		}
		b.eventually("published", func() bool { n := b.messages(name); return n == b.messages(name) })
		before := b.messages(name)

		plan := b.weighed(to)
		foreseen := plan.Held(Allow{})
		if _, err := Apply(b.ctx, b.js, plan, Allow{}); err != nil {
			fail("boot: %v\n%s", err, text(plan))
		}
		if n := b.messages(name); n < before {
			fail("boot lost %d of %d messages\n%s", before-n, before, text(plan))
		}
		left := b.diff(to)
		if outline(left) != outline(foreseen) {
			fail("left after boot:\n%s\nforeseen:\n%s", text(left), text(foreseen))
		}
		if again := left.Doable(Allow{}); !again.Empty() {
			fail("not idempotent:\n%s", text(again))
		}
		all := Allow{DataLoss: true, Irreversible: true}
		if _, err := Apply(b.ctx, b.js, left, all); err != nil {
			fail("apply: %v\n%s", err, text(left))
		}
		left = b.diff(to)
		if again := left.Doable(all); !again.Empty() {
			fail("does not converge:\n%s", text(again))
		}
		for _, c := range left.Changes {
			if c.Class != Conflict {
				fail("left without a conflict:\n%s", text(left))
			}
		}
		b.refuses(left)
		if err := b.js.DeleteStream(b.ctx, name); err != nil {
			fail("%v", err)
		}
	}
}

// outline is what differs, without the values and reasons.
func outline(p Plan) (s string) {
	for _, c := range p.Changes {
		s += fmt.Sprint(c.Action, " ", c.Ref)
		for _, f := range c.Fields {
			s += " " + f.Name
		}
		s += "\n"
	}
	return s
}

func fieldsJSON(s []config.Stream) string {
	return fmt.Sprint(fieldsOf(s[0].StreamConfig), s[0].Consumers)
}
