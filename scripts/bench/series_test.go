package main

import (
	"encoding/json"
	"testing"
)

func TestSeries(t *testing.T) {
	t.Parallel()
	stock, ours := series{100, 200, 400}, series{50, 200, 800}
	ratio := ours.over(stock)
	if got := ratio.median(); got != 1 {
		t.Errorf("ratios %v have the median %v, want 1", ratio, got)
	}
	// Not the ratio of the medians: round by round, so that a busy minute counts for both.
	if got := (series{10, 300, 90}).over(series{20, 600, 100}).median(); got != 0.5 {
		t.Errorf("median of ratios = %v, want 0.5", got)
	}
	if got := (series{1, 2}).over(series{1}); len(got) != 1 {
		t.Errorf("ratios of rounds that one of them does not have: %v", got)
	}
	if got, want := (series{30, 10, 20, 40}).String(), "25.0 (13.0–37.0)"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got := (series{}).String(); got != "" {
		t.Errorf("String() of none = %q", got)
	}
	text, err := json.Marshal(series{2, 1})
	if want := `{"median":1.5,"p10":1.1,"p90":1.9,"samples":[2,1]}`; err != nil || string(text) != want {
		t.Errorf("JSON = %s, %v; want %s", text, err, want)
	}
}

func TestFigure(t *testing.T) {
	t.Parallel()
	for f, want := range map[float64]string{
		0: "0.00", 0.974: "0.97", 12.34: "12.3", 99.96: "100.0", 100: "100", 1000: "1,000", 123456.7: "123,457", 1e6: "1,000,000",
	} {
		if got := figure(f); got != want {
			t.Errorf("figure(%v) = %q, want %q", f, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit     *limit
		stock, it float64
		want      string
	}{
		{nil, 1, 1, ""},
		{ratioFrom(0.97), 100, 97, "≥ 0.97"},
		{ratioFrom(0.97), 100, 96, "≥ 0.97 **missed**"},
		{ratioTo(1.5), 10, 15, "≤ 1.5"},
		{ratioTo(1.5), 10, 15.1, "≤ 1.5 **missed**"},
		{moreBy(12), 18, 30, "≤ stock + 12"},
		{moreBy(12), 18, 30.5, "≤ stock + 12 **missed**"},
	} {
		stock, it := series{c.stock}, series{c.it}
		if got := c.limit.verdict(stock, it, it.over(stock)); got != c.want {
			t.Errorf("%v beside %v: %q, want %q", c.it, c.stock, got, c.want)
		}
	}
}
