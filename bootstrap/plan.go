// Package bootstrap makes JetStream match the declaration: observe, diff (pure), weigh, apply.
//
//	have, err := bootstrap.Observe(ctx, js)
//	plan := bootstrap.Diff(cfg.Streams, have)
//	err = bootstrap.Weigh(ctx, js, plan)
//	done, err := bootstrap.Apply(ctx, js, plan, bootstrap.Allow{})
//	left := plan.Held(bootstrap.Allow{})
//
// Nothing is ever deleted. A field whose change would cost messages or deliveries, or could not be taken back, is
// held back by itself: the rest of its stream is applied without it.
package bootstrap

import (
	"encoding/json"
	"slices"
	"time"
)

// Class says what changing a field does to what is there. They are listed from harmless to impossible.
type Class string

const (
	Safe         Class = "safe"         // can be made and taken back, and costs nothing
	Replays      Class = "replays"      // something is stored or delivered a second time
	Skips        Class = "skips"        // something stored is never delivered
	Loses        Class = "loses"        // messages are deleted
	Irreversible Class = "irreversible" // JetStream has no way back
	Conflict     Class = "conflict"     // JetStream refuses it
)

var gravity = []Class{Safe, Replays, Skips, Loses, Irreversible, Conflict}

func graver(a, b Class) Class {
	if slices.Index(gravity, b) > slices.Index(gravity, a) {
		return b
	}
	return a
}

// Allow is what may be applied beyond what is safe. The zero value allows nothing more.
type Allow struct {
	DataLoss     bool // loses, skips and replays
	Irreversible bool
}

// Permits reports whether changes of the class may be made. A conflict never may.
func (a Allow) Permits(c Class) bool {
	switch c {
	case Safe:
		return true
	case Loses, Skips, Replays:
		return a.DataLoss
	case Irreversible:
		return a.Irreversible
	}
	return false
}

// Action is what a Change does.
type Action string

const (
	Create Action = "create"
	Update Action = "update"
)

// Plan is what separates JetStream from the declaration.
type Plan struct {
	Changes    []Change `json:"changes"`    // streams in the order of their names, each followed by its consumers
	Undeclared []Ref    `json:"undeclared"` // there, but not declared: left alone, and no difference
}

// MarshalJSON writes empty lists, where nothing differs, as such.
func (p Plan) MarshalJSON() ([]byte, error) {
	type plain Plan
	if p.Changes == nil {
		p.Changes = []Change{}
	}
	if p.Undeclared == nil {
		p.Undeclared = []Ref{}
	}
	return json.Marshal(plain(p))
}

// Ref names a stream or, with Consumer, one of its consumers.
type Ref struct {
	Stream   string `json:"stream"`
	Consumer string `json:"consumer,omitempty"`
}

// Change is one stream or consumer that differs.
type Change struct {
	Action Action `json:"action"`
	Ref
	Class    Class    `json:"class"`              // the gravest of its fields
	Why      string   `json:"why,omitempty"`      // why a create is a conflict
	Subjects []string `json:"subjects,omitempty"` // of a stream to be created
	Fields   []Field  `json:"fields,omitempty"`   // of an update, by name

	stream   *streamEdit // one of the two is set
	consumer *consumerEdit
}

// Field is one field that differs. Values are as in JetStream's JSON: durations in nanoseconds, sizes in bytes, numbers
// as json.Number, nil for a field that is not set.
type Field struct {
	Name  string `json:"field"` // as in JetStream's API
	Have  any    `json:"have"`
	Want  any    `json:"want"`
	Class Class  `json:"class"`
	Why   string `json:"why,omitempty"`
	Cost  *Cost  `json:"cost,omitempty"` // filled in by Weigh where it can be counted
}

// Cost is what a field costs when it is applied: messages deleted, skipped, or delivered again.
type Cost struct {
	Messages uint64        `json:"messages"`
	Oldest   time.Time     `json:"oldest,omitzero"` // of these messages; zero when unknown
	Age      time.Duration `json:"age,omitempty"`   // how old the oldest was when it was weighed, in nanoseconds
	Estimate bool          `json:"estimate,omitempty"`
}

// Empty reports whether there is no difference. Undeclared streams and consumers are none.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// Doable is the part of the plan that Apply makes with the allowance.
func (p Plan) Doable(a Allow) Plan { return p.part(a, true) }

// Held is the part of the plan that is left when Apply has succeeded with the allowance: what Diff would find then.
func (p Plan) Held(a Allow) Plan { return p.part(a, false) }

// Impossible is what is declared, is not there, and cannot be created whatever is allowed.
func (p Plan) Impossible() Plan {
	out := Plan{}
	for _, c := range p.Held(Allow{DataLoss: true, Irreversible: true}).Changes {
		if c.Action == Create {
			out.Changes = append(out.Changes, c)
		}
	}
	return out
}

func (p Plan) part(a Allow, doable bool) Plan {
	out := Plan{}
	if !doable {
		out.Undeclared = p.Undeclared
	}
	for _, c := range p.Changes {
		if c.Action == Create {
			if c.Why = c.refused(a); c.Why == "" {
				c.Class = Safe
			}
			if (c.Why == "") == doable {
				out.Changes = append(out.Changes, c)
			}
			continue
		}
		done, held := c.split(a)
		part := held
		if doable {
			part = done
		}
		if len(part) > 0 {
			out.Changes = append(out.Changes, c.with(part))
		}
	}
	return out
}

// refused is why a create cannot be made with the allowance; empty if it can.
func (c Change) refused(a Allow) string {
	if c.consumer != nil {
		return c.consumer.refuseCreate(a)
	}
	return c.Why
}

// split parts the fields of an update into those that Apply changes with the allowance and those that stay different.
func (c Change) split(a Allow) (done, held []Field) {
	if c.stream != nil {
		_, done, held = settle(c.stream.kind(), a)
	} else {
		_, done, held = settle(c.consumer.kind(a), a)
	}
	return done, held
}

// with is c with other fields, which keep what Weigh found out about them.
func (c Change) with(fields []Field) Change {
	weighed := c.Fields
	c.Fields, c.Class = fields, Safe
	for i, f := range fields {
		c.Class = graver(c.Class, f.Class)
		if w := named(weighed, f.Name); w != nil {
			fields[i].Cost = w.Cost
		}
	}
	return c
}

// limitless reports whether a JetStream limit means no limit.
func limitless[N int | int32 | int64 | time.Duration](n N) bool { return n <= 0 }

// lowered reports whether a limit becomes tighter.
func lowered[N int | int32 | int64 | time.Duration](have, want N) bool {
	return !limitless(want) && (limitless(have) || want < have)
}
