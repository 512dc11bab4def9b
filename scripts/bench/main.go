// Command bench measures the bus against what it replaces and against its own floors, everything in one run, so that the
// numbers of one table were made by one machine in one mood.
//
//	go run ./scripts/bench startup [-rounds N] [-json | -markdown]
//	go run ./scripts/bench backup [-rounds N] [-messages N] [-require TIMES] [-json | -markdown]
//	go run ./scripts/bench beside [-rounds N] [-messages N] [-rates SIZE,SIZE] [-require PART] [-json | -markdown]
//	go run ./scripts/bench compare [-quick] [-control] [-rounds N] [-cases REGEXP] [-json | -markdown]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// A bench is one subcommand. It adds its flags to the set, parses args, measures, and prints to stdout; what it says on
// the way goes to stderr.
type bench struct {
	name, about string
	run         func(ctx context.Context, flags *flag.FlagSet, args []string) error
}

var benches = []bench{
	{"startup", "process start to layout standing: deltran-bus, nats-server and natscli, and the floors", startup},
	{"backup", "backup and restore of one stream: deltran-bus and natscli", backups},
	{"beside", "one publisher while another stream is backed up: by natscli, by deltran-bus, by its schedule", beside},
	{"compare", "publish, consume, restart, memory and size: deltran-bus and the nats-server that it embeds", compare},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	for _, b := range benches {
		if len(args) > 0 && args[0] == b.name {
			return b.run(ctx, flag.NewFlagSet("bench "+b.name, flag.ContinueOnError), args[1:])
		}
	}
	for _, b := range benches {
		fmt.Fprintf(os.Stderr, "  %-10s %s\n", b.name, b.about)
	}
	return errors.New("which one?")
}
