package bustest_test

import (
	"testing"

	"github.com/deltran/deltran-bus/bustest"
)

// From nothing to every stream and consumer of the embedded layout, and away again.
func BenchmarkRun(b *testing.B) {
	once := func(b *testing.B, opts ...bustest.Option) {
		bus, err := bustest.Start(opts...)
		if err != nil {
			b.Error(err)
			return
		}
		if err := bus.Close(); err != nil {
			b.Error(err)
		}
	}
	for name, opts := range map[string][]bustest.Option{
		"memory": nil,
		"tcp":    {bustest.WithTCP()},
		"files":  {bustest.WithFiles()},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				once(b, opts...)
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				once(b)
			}
		})
	})
}
