package server_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
)

// From nothing to an open client port with the embedded layout, and the same over a store that has it: what the bus
// adds to the start of NATS. Beside them, NATS with nothing declared.
func BenchmarkStart(b *testing.B) {
	none := toml("[bus]\ndefault_streams = false\n")
	b.Run("cold", func(b *testing.B) { benchmarkStart(b, false) })
	b.Run("cold/empty", func(b *testing.B) { benchmarkStart(b, false, none) })
	b.Run("warm", func(b *testing.B) { benchmarkStart(b, true) })
	b.Run("warm/undeclared", func(b *testing.B) { benchmarkStart(b, true, none) })
}

func benchmarkStart(b *testing.B, warm bool, more ...config.Source) {
	tmp := b.TempDir()
	dir := func(i int) string { return filepath.Join(tmp, strconv.Itoa(i)) }
	if warm {
		stop(b, start(b, at(b, dir(0))))
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))
	for i := 0; b.Loop(); i++ {
		at := at(b, dir(map[bool]int{true: 0, false: i + 1}[warm]), more...)
		s, err := server.Start(context.Background(), at, quiet)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stop(b, s)
		b.StartTimer()
	}
}

// One look at the store's volume: at rest the bus takes one a second, with 64 MB free a hundred and twenty.
func BenchmarkLook(b *testing.B) {
	s := server.New(onDisk(b), slog.New(slog.DiscardHandler))
	if err := s.Open(context.Background()); err != nil {
		b.Fatal(err)
	}
	s.StopLooking()
	for b.Loop() {
		s.Look()
	}
	stop(b, s)
}
