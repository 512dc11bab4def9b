package main

import (
	"fmt"

	"github.com/deltran/deltran-bus/scripts/internal/tools"
)

func (f *field) table(rounds int) table {
	t := table{
		title: "Process start to layout standing, milliseconds",
		head:  []string{"", "cold", "p10–p90", "warm", "p10–p90", "cold, times ours", "warm, times ours"},
		notes: []string{fmt.Sprintf("Medians of %d rounds, alternating; sync always where nothing else is said. %s, %s.\n%s",
			rounds, f.nats, tools.NATSCLI, thisMachine())},
	}
	for _, c := range f.all {
		t.rows = append(t.rows, []string{c.name,
			millis(c.Cold.median()), c.Cold.spread(), millis(c.Warm.median()), c.Warm.spread(),
			fmt.Sprintf("%.1f", c.Cold.times(f.bus.Cold)), fmt.Sprintf("%.1f", c.Warm.times(f.bus.Warm))})
	}
	return t
}

func (f *field) json(rounds int) any {
	type result struct {
		Name  string  `json:"name"`
		Cold  samples `json:"cold"`
		Warm  samples `json:"warm"`
		Times struct {
			Cold float64 `json:"cold"`
			Warm float64 `json:"warm"`
		} `json:"times_ours"`
	}
	results := make([]result, len(f.all))
	for i, c := range f.all {
		results[i] = result{Name: c.name, Cold: c.Cold, Warm: c.Warm}
		results[i].Times.Cold, results[i].Times.Warm = c.Cold.times(f.bus.Cold), c.Warm.times(f.bus.Warm)
	}
	return map[string]any{"bench": "startup", "rounds": rounds, "machine": thisMachine(), "nats": f.nats, "natscli": tools.NATSCLI, "results": results}
}
