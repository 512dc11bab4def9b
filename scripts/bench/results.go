package main

import (
	"fmt"
	"os"
	"strings"
)

// results are everything that compare found in one run.
type results struct {
	set       settings
	ways      []*way // the first is what the others are compared with
	nats      string // its version
	scenarios []*scenario
	disk      series
	loads     []string // of the machine, before and after
}

func (r *results) tables() []table {
	var tables []table
	for _, s := range r.scenarios {
		stock, ours, inside := s.found[r.ways[0].name], s.found[r.ways[1].name], s.found[r.ways[2].name]
		if len(tables) == 0 || tables[len(tables)-1].title != s.group {
			head := []string{"", r.ways[0].name, r.ways[1].name, "ratio", "required"}
			if s.library {
				head = append(head, r.ways[2].name, "ratio", "required")
			}
			tables = append(tables, table{title: s.group, head: head})
		}
		t := &tables[len(tables)-1]
		ratio := ours.over(stock)
		row := []string{s.name, stock.String(), ours.String(), ratio.String(), s.required.verdict(stock, ours, ratio)}
		if s.library {
			ratio := inside.over(stock)
			row = append(row, inside.String(), ratio.String(), s.inside.verdict(stock, inside, ratio))
		}
		t.rows = append(t.rows, row)
	}
	if len(tables) > 0 {
		last := &tables[len(tables)-1]
		last.notes = append(last.notes,
			fmt.Sprintf("Median (p10–p90) of %d rounds, alternating; a ratio is the median of the ratios of each round. %s.", r.set.rounds, r.nats),
			fmt.Sprintf("%s. fdatasync of 256 B appended to one file: %s a second. Load average %s.",
				thisMachine(), r.disk, strings.Join(r.loads, " before, ")+" after"))
	}
	return tables
}

func (r *results) json() any {
	type result struct {
		Group    string            `json:"group"`
		Name     string            `json:"name"`
		Found    map[string]series `json:"found"`
		Ratio    map[string]series `json:"ratio"`
		Required map[string]string `json:"required,omitempty"`
		Met      map[string]bool   `json:"met,omitempty"`
	}
	var all []result
	for _, s := range r.scenarios {
		one := result{s.group, s.name, s.found, map[string]series{}, map[string]string{}, map[string]bool{}}
		stock := s.found[r.ways[0].name]
		for w, l := range map[string]*limit{r.ways[1].name: s.required, r.ways[2].name: s.inside} {
			found := s.found[w]
			if found == nil {
				continue
			}
			one.Ratio[w] = found.over(stock)
			if l != nil {
				one.Required[w] = l.text
				one.Met[w] = l.met(stock.median(), found.median(), one.Ratio[w].median())
			}
		}
		all = append(all, one)
	}
	return map[string]any{"bench": "compare", "rounds": r.set.rounds, "machine": thisMachine(), "nats": r.nats,
		"fdatasync_per_second": r.disk, "load_average": r.loads, "results": all}
}

// loadAverage is the machine's of the last minute, this run included.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
