package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestSamples(t *testing.T) {
	s := samples{40 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 20 * time.Millisecond}
	for q, want := range map[float64]time.Duration{
		0: 10 * time.Millisecond, 0.1: 13 * time.Millisecond, 0.5: 25 * time.Millisecond, 1: 40 * time.Millisecond,
	} {
		if got := s.at(q); got != want {
			t.Errorf("at(%v) = %v, want %v", q, got, want)
		}
	}
	if got := s.spread(); got != "13.0–37.0" {
		t.Errorf("spread() = %q", got)
	}
	if got := s.times(samples{5 * time.Millisecond}); got != 5 {
		t.Errorf("times() = %v, want 5", got)
	}
	if s[0] != 40*time.Millisecond {
		t.Error("the samples were put into another order")
	}
	if got := (samples{}).median(); got != 0 {
		t.Errorf("median of none = %v", got)
	}
	text, err := json.Marshal(samples{1500 * time.Microsecond})
	if want := `{"median_ms":1.5,"p10_ms":1.5,"p90_ms":1.5,"samples_ms":[1.5]}`; err != nil || string(text) != want {
		t.Errorf("JSON = %s, %v; want %s", text, err, want)
	}
}

func TestTable(t *testing.T) {
	table := table{
		title: "T", head: []string{"", "cold", "p10–p90"}, notes: []string{"N"},
		rows: [][]string{{"deltran-bus", "1.5", "1.0–2.0"}, {"x", "100.0", "9"}},
	}
	var text, markdown strings.Builder
	table.text(&text)
	table.markdown(&markdown)
	if want := `T

              cold  p10–p90
deltran-bus    1.5  1.0–2.0
x            100.0        9

N
`; text.String() != want {
		t.Errorf("text:\n%s\nwant:\n%s", text.String(), want)
	}
	if want := `**T**

|  | cold | p10–p90 |
|---|---:|---:|
| deltran-bus | 1.5 | 1.0–2.0 |
| x | 100.0 | 9 |

N
`; markdown.String() != want {
		t.Errorf("markdown:\n%s\nwant:\n%s", markdown.String(), want)
	}
}
