// Command powercut takes the power from a bus again and again and looks whether everything is there that was acknowledged.
//
//	powercut                    cuts after every operation and at random, here and on a stock nats-server that has to lose
//	powercut -cuts 500          so many at random
//	powercut -semantics strict  on a file system that keeps a name only when its folder was synced
//	powercut disk               on ext4 and xfs, by the kernel's own emergency stop
//
// The file system is lossyfs: a server runs on it under load, once, and every cut is replayed from the record. What is left
// is a plain folder, on which the same server starts again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/lossyfs"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	bus, bin, work string
	cuts           int
	every          bool
	thorough       bool
	stock          bool
	semantics      lossyfs.Semantics
	seed           uint64
	load           time.Duration
	heavy, own     bool
	drain          bool
	keep           bool
	verbose        bool
	out            io.Writer
}

func run(ctx context.Context, args []string, out io.Writer) error {
	onDisk := len(args) > 0 && args[0] == "disk"
	err := lossyfs.Available()
	if err == nil || onDisk {
		err = lossyfs.OwnMounts()
	}
	if err != nil {
		fmt.Fprintln(out, "powercut: NOT RUN:", err)
		return nil
	}
	s := settings{out: out}
	if onDisk {
		return s.disk(ctx, args[1:])
	}
	flags := flag.NewFlagSet("powercut", flag.ContinueOnError)
	s.common(flags)
	flags.IntVar(&s.cuts, "cuts", 40, "cuts at random moments under load")
	flags.BoolVar(&s.every, "every", true, "cuts after every operation of a short life")
	flags.BoolVar(&s.thorough, "thorough", false, "after every operation all three ways to die, instead of one in turn")
	flags.BoolVar(&s.stock, "stock", true, "see that a stock nats-server with its default sync fails")
	flags.BoolVar(&s.keep, "keep", false, "keep the folder of a cut that lost something")
	flags.BoolVar(&s.drain, "drain", false, "after every random cut, instead of one in ten, see that everything comes that the consumers have not acknowledged")
	flags.Func("semantics", "journal (default) or strict: what the file system promises", func(v string) error {
		switch v {
		case "journal":
			s.semantics = lossyfs.Journal
		case "strict":
			s.semantics = lossyfs.Strict
		default:
			return errors.New("neither journal nor strict")
		}
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	done, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.all(ctx)
}

// common are the flags of every subcommand.
func (s *settings) common(flags *flag.FlagSet) {
	flags.StringVar(&s.bus, "bus", "", "the `binary` to test; without it, one is built from the working tree")
	flags.StringVar(&s.bin, "bin", "bin", "`folder` for binaries that are built")
	flags.StringVar(&s.work, "work", "", "`folder` for what is left after cuts; without it, in memory where there is room, or where the system puts such things")
	flags.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "repeats what is lost and what is not; the load is never quite the same")
	flags.DurationVar(&s.load, "load", time.Second, "the longest load before a cut")
	flags.BoolVar(&s.heavy, "heavy", true, "some messages are so large that blocks roll over")
	flags.BoolVar(&s.own, "own", true, "publish as well to streams that a client makes, and consume")
	flags.BoolVar(&s.verbose, "v", false, "tell of every cut with something wrong, not of five")
}

// prepare builds what is missing and makes a folder; done takes that away.
func (s *settings) prepare(ctx context.Context) (done func(), err error) {
	if s.bus == "" {
		if s.bus, err = tools.Bus(ctx, s.bin); err != nil {
			return nil, err
		}
	}
	if s.work == "" && roomInMemory() {
		s.work = memory
	}
	if s.work, err = os.MkdirTemp(s.work, "powercut-"); err != nil {
		return nil, err
	}
	return func() {
		if !s.keep || os.Remove(s.work) == nil {
			_ = os.RemoveAll(s.work)
		}
	}, nil
}
