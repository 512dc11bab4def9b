//go:build linux

package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

// The figures of docs/durability.md. With and without are measured in turn, in one process; an iteration is a round, and what
// is reported are medians of rounds, ratios of each round's two:
//
//	go test ./server -run '^$' -bench Figure -benchtime 9x

const stored = 1_000_000 // messages, of 256 bytes

// large is the embedded layout and a stream for so many; nats-server reads what is younger than duplicate_window at a start.
func large(sync string) []config.Source {
	return []config.Source{
		toml("[nats.jetstream]\nmax_file_store = \"20GB\"\n[[streams]]\nname = \"PAY\"\nsubjects = [\"pay.*\"]\nmax_bytes = \"4GB\"\nduplicate_window = \"100ms\"\n"),
		config.Set("bench", "nats.jetstream.sync_interval", sync),
	}
}

// median of rounds.
func median(of []float64) float64 {
	s := slices.Sorted(slices.Values(of))
	return s[len(s)/2]
}

// pour publishes n messages, window of them at most without an answer, until the clock says stop; it returns how many were
// acknowledged a second.
func pour(b *testing.B, js jetstream.JetStream, n, window int, stop time.Duration) float64 {
	b.Helper()
	data := make([]byte, 256)
	begun, acked := time.Now(), 0
	var waiting []jetstream.PubAckFuture
	take := func() {
		select {
		case <-waiting[0].Ok():
			acked++
		case err := <-waiting[0].Err():
			b.Fatal(err)
		}
		waiting = waiting[1:]
	}
	for range n {
		if time.Since(begun) > stop {
			break
		}
		if len(waiting) == window {
			take()
		}
		f, err := js.PublishAsync("pay.booked", data)
		if err != nil {
			b.Fatal(err)
		}
		waiting = append(waiting, f)
	}
	for len(waiting) > 0 {
		take()
	}
	return float64(acked) / time.Since(begun).Seconds()
}

// boot starts a bus and returns it, and how long that took.
func boot(b *testing.B, cfg *config.Config, log *slog.Logger, opts ...server.Option) (*server.Server, time.Duration) {
	b.Helper()
	runtime.GC()
	begun := time.Now()
	s := server.New(cfg, log, opts...)
	if err := errors.Join(s.Open(context.Background()), s.Listen()); err != nil {
		b.Fatal(err)
	}
	return s, time.Since(begun)
}

var silent = slog.New(slog.DiscardHandler)

// million is a store with a million messages, left by an orderly stop, and copies of it.
func million(b *testing.B, copies ...string) {
	b.Helper()
	s, _ := boot(b, at(b, copies[0], large("2m")...), silent)
	pour(b, js(b, s), stored, 4000, time.Hour)
	stop(b, s)
	for _, c := range copies[1:] {
		if err := os.CopyFS(c, os.DirFS(copies[0])); err != nil {
			b.Fatal(err)
		}
	}
	unix.Sync()
}

// Boot after an orderly stop, from exec to an open client port, with everything that is looked at before, beside one that
// looks at nothing and keeps no ledger.
func BenchmarkFigureBoot(b *testing.B) {
	dir := b.TempDir()
	stores := [2]string{filepath.Join(dir, "with"), filepath.Join(dir, "without")}
	million(b, stores[0], stores[1])
	var a, c, ratio []float64
	for i := 0; b.Loop(); i++ {
		var took [2]float64
		for j := range 2 {
			k := (i + j) % 2
			took[k] = bootProcess(b, stores[k], k == 1).Seconds() * 1000
		}
		a, c, ratio = append(a, took[0]), append(c, took[1]), append(ratio, took[0]/took[1])
	}
	b.ReportMetric(median(a), "ms-with")
	b.ReportMetric(median(c), "ms-without")
	b.ReportMetric(median(ratio), "ratio")
}

// bootProcess starts this binary as a bus on the store, and stops it in order when it is ready.
func bootProcess(b *testing.B, store string, bare bool) (took time.Duration) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bootDir+"="+store, "GOGC=400") // as serve has it while it starts
	if bare {
		cmd.Env = append(cmd.Env, bootBare+"=1")
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_, err = io.ReadFull(out, make([]byte, len(bootedWord)))
	took = time.Since(begun)
	if err := errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		b.Fatal(err)
	}
	return took
}

const bootedWord = "ready"

func init() {
	booted = func() (code int) {
		cfg, err := config.Load(append(large("always"), config.Set("bench", "nats.listen", "127.0.0.1:0"),
			config.Set("bench", "nats.jetstream.store_dir", os.Getenv(bootDir)))...)
		if err == nil {
			var opts []server.Option
			if os.Getenv(bootBare) != "" {
				opts = append(opts, server.Bare)
			}
			s := server.New(cfg, silent, opts...)
			err = errors.Join(s.Open(context.Background()), s.Listen())
			fmt.Print(bootedWord)
			_, _ = io.Copy(io.Discard, os.Stdin)
			err = errors.Join(err, s.Close(context.Background()))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

// looked takes from the log how much was looked at, and how fast.
type looked struct {
	slog.Handler
	speed *float64 // MB/s
}

func (l looked) Enabled(context.Context, slog.Level) bool { return true }

func (l looked) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "looked for damage" {
		var bytes int64
		var took time.Duration
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "bytes":
				bytes = a.Value.Int64()
			case "took":
				took = a.Value.Duration()
			}
			return true
		})
		*l.speed = float64(bytes) / 1e6 / took.Seconds()
	}
	return nil
}

// The look at a store that was not stopped in order: from the page cache, and from the disk, beside plain reading of the same
// files from the disk.
func BenchmarkFigureLook(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "store")
	million(b, dir)
	cfg := at(b, dir, large("always")...)
	s, _ := boot(b, cfg, silent)
	if err := s.Abandon(); err != nil {
		b.Fatal(err)
	}
	var cached, disk, plain []float64
	for b.Loop() {
		for _, cold := range []bool{false, true} {
			if cold {
				plain = append(plain, readAll(b, dir))
				readAll(b, dir) // out of the cache once more
			}
			speed := 0.0
			s, _ := boot(b, cfg, slog.New(looked{slog.DiscardHandler, &speed}))
			if err := s.Abandon(); err != nil || speed == 0 {
				b.Fatal(err, speed)
			}
			if cold {
				disk = append(disk, speed)
			} else {
				cached = append(cached, speed)
			}
		}
	}
	b.ReportMetric(median(cached), "MB/s-cached")
	b.ReportMetric(median(disk), "MB/s-disk")
	b.ReportMetric(median(plain), "MB/s-plain-read")
}

// readAll reads a folder's files from the disk, not from the cache, and leaves none of them in it.
func readAll(b *testing.B, dir string) (speed float64) {
	b.Helper()
	drop := func(f *os.File) error {
		return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	}
	var read int64
	var took time.Duration
	buf := make([]byte, 1<<20)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := drop(f); err != nil {
			return err
		}
		begun := time.Now()
		for {
			n, err := f.Read(buf)
			if read += int64(n); err == io.EOF {
				break
			} else if err != nil {
				return err
			}
		}
		took += time.Since(begun)
		return drop(f)
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(read) / 1e6 / took.Seconds()
}

// Publishing with the ledger beside publishing without, a second at a time in turn.
func BenchmarkFigurePublish(b *testing.B) {
	for _, sync := range []string{"always", "2m"} {
		b.Run("sync="+sync, func(b *testing.B) {
			var by [2]jetstream.JetStream
			for i, opts := range [][]server.Option{nil, {server.Bare}} {
				s, _ := boot(b, at(b, filepath.Join(b.TempDir(), "store"), large(sync)...), silent, opts...)
				defer stop(b, s)
				by[i] = js(b, s)
			}
			var a, c, ratio []float64
			for i := 0; b.Loop(); i++ {
				var rate [2]float64
				for j := range 2 {
					k := (i + j) % 2
					rate[k] = pour(b, by[k], stored, 64, time.Second)
				}
				a, c, ratio = append(a, rate[0]), append(c, rate[1]), append(ratio, rate[0]/rate[1])
			}
			b.ReportMetric(median(a), "msgs/s-with")
			b.ReportMetric(median(c), "msgs/s-without")
			b.ReportMetric(median(ratio), "ratio")
		})
	}
}

// From the moment in which there is room again until publishing goes on: refused in time, and after nats-server itself had
// met the full disk, so that it is started anew.
func BenchmarkFigureRoomAgain(b *testing.B) {
	for _, keep := range []string{"auto", "0"} {
		for kind, mount := range volumes {
			b.Run("min_free="+keep+"/"+kind, func(b *testing.B) {
				volume := mount(b, 80)
				var took []float64
				for i := 0; b.Loop(); i++ {
					took = append(took, roomAgain(b, volume, keep))
				}
				b.ReportMetric(median(took), "s-median")
				b.ReportMetric(slices.Max(took), "s-longest")
			})
		}
	}
}

func roomAgain(b *testing.B, volume, keep string) (seconds float64) {
	b.Helper()
	dir := filepath.Join(volume, "store")
	defer os.RemoveAll(dir)
	s, _ := boot(b, at(b, dir, config.Set("bench", "bus.min_free", keep)), silent)
	defer stop(b, s)
	nc, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), quietly)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js := over(b, nc)
	try := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
		defer cancel()
		_, err := js.Publish(ctx, "events.risk.a", make([]byte, 900), jetstream.WithRetryAttempts(0))
		return err
	}
	if err := try(); err != nil {
		b.Fatal(err)
	}
	file := hog(b, volume)
	until(b, "publishes are refused", func() bool { return refused(try()) })
	if err := os.Remove(file); err != nil {
		b.Fatal(err)
	}
	freed := time.Now()
	until(b, "publishing goes on", func() bool { return try() == nil })
	return time.Since(freed).Seconds()
}
