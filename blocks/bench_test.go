package blocks_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/nats-io/nats.go/jetstream"
)

// How fast a store is read from the page cache.
func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
		how  jetstream.StoreCompression
	}{{"256B", 256, jetstream.NoCompression}, {"4KB", 4096, jetstream.NoCompression}, {"4KB-s2", 4096, jetstream.S2Compression}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			e := open(b, dir)
			e.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Compression: c.how})
			payload := bytes.Repeat([]byte("payment "), c.size/8)
			for i := range 64 << 20 / c.size {
				payload[i%len(payload)] = byte(rand.Uint32())
				if _, err := e.js.PublishAsync(fmt.Sprintf("s.%d", i%100), payload); err != nil {
					b.Fatal(err)
				}
			}
			<-e.js.PublishAsyncComplete()
			e.stop()
			var size int64
			b.ReportAllocs()
			for b.Loop() {
				r := scan(b, folder(dir, "S"), blocks.Options{Clean: true})
				size = 0
				for _, block := range r.Blocks {
					size += block.Size
				}
				if len(r.Damage) > 0 {
					b.Fatal(r.Damage)
				}
			}
			b.SetBytes(size)
		})
	}
}
