package monitor

import (
	"fmt"
	"io"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func benchScrape(b *testing.B, streams int) {
	bus := serving(b)
	js := bus.js(b)
	for i := range streams {
		name := fmt.Sprintf("S%04d", i)
		_, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: jetstream.MemoryStorage})
		if err != nil {
			b.Fatal(err)
		}
		bus.create(b, js, "consumer "+name+"/c")
	}
	m := open(b, bus, Options{})
	b.Run("collect", func(b *testing.B) {
		b.ReportAllocs()
		c := newCollector(m)
		for b.Loop() {
			c.text()
		}
	})
	b.Run("http", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resp, err := client.Get(m.URL() + "/metrics")
			if err != nil {
				b.Fatal(err)
			}
			n, _ := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			b.ReportMetric(float64(n), "bytes/scrape")
		}
	})
	b.Run("readyz", func(b *testing.B) {
		for b.Loop() {
			_ = m.readiness()
		}
	})
}

func BenchmarkScrape8(b *testing.B)    { benchScrape(b, 8) }
func BenchmarkScrape1000(b *testing.B) { benchScrape(b, 1000) }
