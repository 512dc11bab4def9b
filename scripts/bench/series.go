package main

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// series is one figure, once a round, in whatever unit.
type series []float64

func (s series) median() float64 { return quantile(s, 0.5) }

// over is the ratio to the other of each round: both were measured one after the other, and what disturbed the machine
// in that minute disturbed both.
func (s series) over(other series) series {
	ratios := make(series, min(len(s), len(other)))
	for i := range ratios {
		ratios[i] = s[i] / other[i]
	}
	return ratios
}

// String is the median and where four of five lie.
func (s series) String() string {
	if len(s) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s–%s)", figure(s.median()), figure(quantile(s, 0.1)), figure(quantile(s, 0.9)))
}

func (s series) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"median": s.median(), "p10": quantile(s, 0.1), "p90": quantile(s, 0.9), "samples": []float64(s),
	})
}

// figure has three or four digits that say something; thousands apart.
func figure(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'f', pick(f < 10, 2, 1), 64)
	}
	text := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
