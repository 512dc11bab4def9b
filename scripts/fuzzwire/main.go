// Command fuzzwire speaks broken NATS and broken HTTP to a bus, while well-behaved clients publish and consume beside it. The
// bus has to stay up and ready, without a panic and within bounds of memory, and whatever it acknowledged has to be there
// afterwards, once and in order. Without a log-in it is done to a bus of the built-in configuration; with services, passwords
// and TLS before and after logging in.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/tools"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bus := flag.String("bus", "", "the `binary` to test; without it, one is built from the working tree")
	bin := flag.String("bin", "bin", "`folder` for the binary that is built")
	long := flag.Duration("for", 20*time.Second, "how long, all configurations together")
	only := flag.String("only", "", "one `configuration`: open or services; without it, both")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "repeats what is sent, as far as a machine repeats anything")
	flag.Parse()
	fmt.Println("seed", *seed)
	if err := run(ctx, *bus, *bin, *only, *long, *seed); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		fmt.Fprintln(os.Stderr, "fuzzwire:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bus, bin, only string, long time.Duration, seed uint64) (err error) {
	if bus == "" {
		bus, err = tools.Bus(ctx, bin)
	} else {
		bus, err = filepath.Abs(bus)
	}
	if err != nil {
		return err
	}
	kinds := []string{"open", "services"}
	if only != "" {
		kinds = []string{only}
	}
	for _, kind := range kinds {
		s := &scene{kind: kind, binary: bus, seed: seed}
		said, err := s.play(ctx, long/time.Duration(len(kinds)))
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		fmt.Printf("fuzzwire %s: %s\n", kind, said)
	}
	return nil
}
