package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// samples are the measurements of one thing, in the order in which they were taken.
type samples []time.Duration

func (s samples) at(q float64) time.Duration { return quantile(s, q) }

func (s samples) median() time.Duration { return s.at(0.5) }

// spread is where four of five samples lie.
func (s samples) spread() string {
	return fmt.Sprintf("%s–%s", millis(s.at(0.1)), millis(s.at(0.9)))
}

// times is how many times as long as other s took, by the medians.
func (s samples) times(other samples) float64 { return float64(s.median()) / float64(other.median()) }

func (s samples) MarshalJSON() ([]byte, error) {
	ms := make([]float64, len(s))
	for i, d := range s {
		ms[i] = inMillis(d)
	}
	return json.Marshal(map[string]any{
		"median_ms": inMillis(s.median()), "p10_ms": inMillis(s.at(0.1)), "p90_ms": inMillis(s.at(0.9)), "samples_ms": ms,
	})
}

func inMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
func millis(d time.Duration) string    { return fmt.Sprintf("%.1f", inMillis(d)) }

// quantile is the value below which the part q of them lies, between neighbours by their distance; 0 of none.
func quantile[T ~int64 | ~float64](all []T, q float64) T {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + T((at-float64(low))*float64(sorted[high]-sorted[low]))
}
