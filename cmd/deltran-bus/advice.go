package main

import (
	"fmt"
	"strings"

	"github.com/deltran/deltran-bus/bootstrap"
)

// advice is what to type next about a plan, a line each; nothing where there is nothing to do.
func advice(p bootstrap.Plan) (lines []string) {
	if !p.Doable(bootstrap.Allow{}).Empty() {
		lines = append(lines, "deltran-bus apply makes what is safe")
	}
	return append(lines, adviceOnHeld(p.Held(bootstrap.Allow{}))...)
}

// adviceOnHeld is advice about what was held back already.
func adviceOnHeld(p bootstrap.Plan) (lines []string) {
	var loses, irreversible int
	var never []string
	for _, c := range p.Changes {
		if c.Class == bootstrap.Conflict {
			never = append(never, c.Ref.String())
		}
		for _, f := range c.Fields {
			switch {
			case f.Class == bootstrap.Irreversible:
				irreversible++
			case (bootstrap.Allow{DataLoss: true}).Permits(f.Class) && f.Class != bootstrap.Safe:
				loses++
			}
		}
	}
	if loses > 0 {
		lines = append(lines, fmt.Sprintf("deltran-bus apply --allow-data-loss makes %s, at that cost", count(loses, "change")))
	}
	if irreversible > 0 {
		lines = append(lines, fmt.Sprintf("deltran-bus apply --allow-irreversible makes %s for good", count(irreversible, "change")))
	}
	if len(never) > 0 {
		lines = append(lines, "JetStream refuses a part of "+short(never)+": take it out of the declaration, or declare it under another name")
	}
	return lines
}

// next prints advice for people, beside the answer.
func next(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}
