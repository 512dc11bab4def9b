// Command crash kills a bus with SIGKILL, again and again, on one store: under load, while it starts, and while it makes
// its streams on an empty folder. Whatever was acknowledged has to be there afterwards, in order and whole, and whatever a
// consumer has not acknowledged has to come to it again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
	"github.com/deltran/deltran-bus/scripts/internal/witness"
	"github.com/dustin/go-humanize"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var bin string
	c := crash{Witness: witness.New(witness.Streams(true, false), nil)}
	flag.StringVar(&c.bus, "bus", "", "the `binary` to test; without it, one is built from the working tree")
	flag.StringVar(&bin, "bin", "bin", "`folder` for the binary that is built")
	flag.StringVar(&c.dir, "work", "", "`folder` for the stores; without it, one in the system's own for such things")
	flag.IntVar(&c.rounds, "rounds", 10, "kills under load; each is followed by a few while the bus starts, and by one on an empty folder")
	flag.DurationVar(&c.load, "load", 700*time.Millisecond, "the longest load before a kill")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "repeats the moments, as far as a machine repeats anything")
	flag.Parse()
	c.rand = rand.New(rand.NewPCG(*seed, 0))
	fmt.Println("seed", *seed)
	if err := c.run(ctx, bin, os.Stdout); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// A crash is all rounds on one store.
type crash struct {
	*witness.Witness
	bus, dir string
	rounds   int
	load     time.Duration
	rand     *rand.Rand
	starting int // kills of a bus that was starting
}

func (c *crash) run(ctx context.Context, bin string, out io.Writer) (err error) {
	if c.bus == "" {
		if c.bus, err = tools.Bus(ctx, bin); err != nil {
			return err
		}
	}
	if c.dir, err = os.MkdirTemp(c.dir, "crash-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	begun := time.Now()
	for round := range c.rounds {
		if err := c.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		if err := c.birth(ctx); err != nil {
			return fmt.Errorf("round %d, on an empty folder: %w", round+1, err)
		}
		if round%100 == 99 {
			fmt.Fprintf(out, "%d rounds, %s acknowledged, 0 lost (%s)\n", round+1, humanize.Comma(int64(c.Acknowledged(witness.Now))), time.Since(begun).Round(time.Second))
		}
	}
	if err := c.end(ctx); err != nil {
		return fmt.Errorf("after %d rounds: %w", c.rounds, err)
	}
	fmt.Fprintf(out, "crash: killed %d times under load, %d times while it started, %d times on an empty folder: %s acknowledged, 0 lost\n",
		c.rounds, c.starting, c.rounds, humanize.Comma(int64(c.Acknowledged(witness.Now))))
	return nil
}

func (c *crash) start(ctx context.Context) (*busproc.Bus, error) {
	return busproc.Start(ctx, c.bus, "--store-dir", filepath.Join(c.dir, "store"))
}

// round starts the bus, looks at what it has, and kills it under load; and then while it starts, up to three times.
func (c *crash) round(ctx context.Context, n int) error {
	b, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = b.Kill() }()
	if err := c.look(ctx, b, n%25 == 0); err != nil {
		return err
	}
	if n == 0 {
		js, err := b.JetStream()
		if err != nil {
			return err
		}
		err = c.Create(ctx, js)
		js.Conn().Close()
		if err != nil {
			return err
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Load(ctx, b.Client) }()
	select {
	case err := <-ended:
		return fmt.Errorf("the load ended by itself: %v\n%s", err, b.Stderr())
	case <-time.After(time.Duration(c.rand.Int64N(int64(c.load)))):
	case <-ctx.Done():
	}
	if err := b.Kill(); err != nil {
		return err
	}
	if err := errors.Join(<-ended, ctx.Err()); err != nil {
		return err
	}
	for range c.rand.IntN(4) {
		if err := c.killWhileStarting(filepath.Join(c.dir, "store")); err != nil {
			return err
		}
		c.starting++
	}
	return nil
}

// aStart is longer than the bus takes to be ready, most of the time.
const aStart = 40 * time.Millisecond

func (c *crash) killWhileStarting(store string) error {
	b, err := busproc.Launch(c.bus, "serve", "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--store-dir", store)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(c.rand.Int64N(int64(aStart))))
	return b.Kill()
}

// birth kills a bus that makes its first store, and wants it to start afterwards.
func (c *crash) birth(ctx context.Context) error {
	store := filepath.Join(c.dir, "born")
	defer os.RemoveAll(store)
	if err := c.killWhileStarting(store); err != nil {
		return err
	}
	b, err := busproc.Start(ctx, c.bus, "--store-dir", store)
	if err != nil {
		return err
	}
	return b.Kill()
}

// look holds the bus to what was acknowledged.
func (c *crash) look(ctx context.Context, b *busproc.Bus, whole bool) error {
	res, err := c.Check(ctx, b.Client, witness.Now, whole)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, b.Stderr())
	}
	again, err := c.Repeat(ctx, b.Client, witness.Now)
	if err != nil {
		return err
	}
	res.Add(again)
	for _, line := range b.Damage() { // a kill leaves a lot, and damages nothing
		res.Problems = append(res.Problems, "a false alarm: "+line)
	}
	if err := res.Err(); err != nil {
		return fmt.Errorf("%w\n%s", err, b.Stderr())
	}
	return nil
}

// end looks at everything once more, and has the consumers deliver everything that is left.
func (c *crash) end(ctx context.Context) error {
	b, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = b.Kill() }()
	if err := c.look(ctx, b, true); err != nil {
		return err
	}
	if err := c.Drain(ctx, b.Client, witness.Now); err != nil {
		return err
	}
	return b.Stop()
}
