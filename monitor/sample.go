package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kind is one metric family: its name and its help.
type kind struct {
	name, help string
	counter    bool
}

func gauge(name, help string) *kind   { return &kind{name, help, false} }
func counter(name, help string) *kind { return &kind{name, help, true} }

// sample is one series with its value. Samples share their labels: a stream with eight series has its thirteen labels
// written once, which is most of the cost of a scrape.
type sample struct {
	*kind
	labels labelPairs
	value  float64
}

type sink func(sample)

// labelPairs are name="value", as Prometheus' text has them, in order.
type labelPairs []string

// labels pairs names with values. What is not UTF-8 in a value, which Prometheus would refuse together with the whole
// scrape, is replaced; newlines and quotes are escaped.
func labels(names []string, values ...string) labelPairs {
	return labelPairs(nil).with(names, values...)
}

var (
	valueEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// with returns these labels and more; the receiver is left as it is.
func (l labelPairs) with(names []string, values ...string) labelPairs {
	out := slices.Grow(slices.Clone(l), len(names))
	for i, n := range names {
		out = append(out, n+`="`+valueEscapes.Replace(strings.ToValidUTF8(values[i], "\uFFFD"))+`"`)
	}
	slices.Sort(out)
	return out
}

// families are the samples of one scrape, by name.
type families map[string][]sample

func (f families) add(s sample) { f[s.name] = append(f[s.name], s) }

// write appends the samples as Prometheus' text, version 0.0.4: families and their series in order. Two series with the
// same labels, for which Prometheus would refuse the whole scrape, are one, and an error says so.
func (f families) write(b []byte) ([]byte, error) {
	var twice error
	order := make([]string, 0, len(f))
	for name := range f {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		all := f[name]
		slices.SortStableFunc(all, func(a, b sample) int { return slices.Compare(a.labels, b.labels) })
		kind, text := all[0].kind, "gauge"
		if kind.counter {
			text = "counter"
		}
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s %s\n", name, helpEscapes.Replace(kind.help), name, text)
		for i, s := range all {
			if i > 0 && slices.Equal(s.labels, all[i-1].labels) {
				twice = cmp.Or(twice, fmt.Errorf("%s{%s} is there twice", name, strings.Join(s.labels, ",")))
				continue
			}
			b = append(b, name...)
			if len(s.labels) > 0 {
				b = append(append(append(b, '{'), strings.Join(s.labels, ",")...), '}')
			}
			b = strconv.AppendFloat(append(b, ' '), s.value, 'g', -1, 64)
			b = append(b, '\n')
		}
	}
	return b, twice
}
