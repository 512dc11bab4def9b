package monitor

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// kind is one metric family: its name, help and label names.
type kind struct {
	desc    *prometheus.Desc
	counter bool
}

func gauge(name, help string, labels ...string) *kind {
	return &kind{desc: prometheus.NewDesc(name, help, labels, nil)}
}

func counter(name, help string, labels ...string) *kind {
	return &kind{desc: prometheus.NewDesc(name, help, labels, nil), counter: true}
}

// sample is one series with its value. It differs from client_golang's const metric in that samples share their labels:
// a stream with eight series has its thirteen labels made and sorted once, which is most of the cost of a scrape.
type sample struct {
	*kind
	labels labelPairs
	value  float64
}

type sink func(sample)

func (s sample) Desc() *prometheus.Desc { return s.desc }

func (s sample) Write(m *dto.Metric) error {
	m.Label = s.labels
	if s.counter {
		m.Counter = &dto.Counter{Value: &s.value}
	} else {
		m.Gauge = &dto.Gauge{Value: &s.value}
	}
	return nil
}

// labelPairs are sorted by name, as a metric's labels have to be.
type labelPairs []*dto.LabelPair

// labels pairs names with values. What is not UTF-8 in a value, which Prometheus would refuse together with the whole
// family, is replaced; newlines and quotes are escaped where the text is written.
func labels(names []string, values ...string) labelPairs {
	return labelPairs(nil).with(names, values...)
}

// with returns these labels and more; the receiver is left as it is.
func (l labelPairs) with(names []string, values ...string) labelPairs {
	out := slices.Grow(slices.Clone(l), len(names))
	pairs := make([]dto.LabelPair, len(names))
	for i, n := range names {
		v := strings.ToValidUTF8(values[i], "\uFFFD")
		pairs[i].Name, pairs[i].Value = &n, &v
		out = append(out, &pairs[i])
	}
	slices.SortFunc(out, func(a, b *dto.LabelPair) int { return strings.Compare(*a.Name, *b.Name) })
	return out
}
