package main

import (
	"fmt"
	"strings"

	"github.com/deltran/deltran-bus/bootstrap"
)

// advice is what to type next about a plan, a line each; nothing where there is nothing to do.
func advice(p bootstrap.Plan) (lines []string) {
	if p.Empty() {
		return nil
	}
	left := p.Held(bootstrap.Allow{})
	if !p.Doable(bootstrap.Allow{}).Empty() {
		lines = append(lines, "deltran-bus apply makes what is safe")
	}
	for _, a := range []struct {
		allow bootstrap.Allow
		flag  string
	}{{bootstrap.Allow{DataLoss: true}, "--allow-data-loss"}, {bootstrap.Allow{Irreversible: true}, "--allow-irreversible"}} {
		if n := fields(left.Doable(a.allow)); n > 0 {
			lines = append(lines, fmt.Sprintf("deltran-bus apply %s makes %s more", a.flag, count(n, "change")))
		}
	}
	if never := left.Held(bootstrap.Allow{DataLoss: true, Irreversible: true}); !never.Empty() {
		var names []string
		for _, c := range never.Changes {
			names = append(names, c.Ref.String())
		}
		lines = append(lines, "JetStream refuses a part of "+short(names)+": take it out of the declaration, or make a new stream of another name")
	}
	return lines
}

// fields counts what would change.
func fields(p bootstrap.Plan) (n int) {
	for _, c := range p.Changes {
		n += max(1, len(c.Fields))
	}
	return n
}

// next prints advice for people, beside the answer.
func next(p bootstrap.Plan) string {
	if lines := advice(p); len(lines) > 0 {
		return "\n" + strings.Join(lines, "\n") + "\n"
	}
	return ""
}
