package main

import "fmt"

// A limit is what a figure has to reach beside the stock server's.
type limit struct {
	text string
	met  func(stock, it, ratio float64) bool
}

func ratioFrom(times float64) *limit {
	return &limit{fmt.Sprintf("≥ %g", times), func(_, _, ratio float64) bool { return ratio >= times }}
}

func ratioTo(times float64) *limit {
	return &limit{fmt.Sprintf("≤ %g", times), func(_, _, ratio float64) bool { return ratio <= times }}
}

func moreBy(than float64) *limit {
	return &limit{fmt.Sprintf("≤ stock + %g", than), func(stock, it, _ float64) bool { return it <= stock+than }}
}

// verdict is the limit, and whether it was missed.
func (l *limit) verdict(stock, it, ratios series) string {
	switch {
	case l == nil:
		return ""
	case l.met(stock.median(), it.median(), ratios.median()):
		return l.text
	}
	return l.text + " **missed**"
}
