package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/tools"
)

// A contestant starts a server and, if the server does not do it, makes the layout on it.
type contestant struct {
	name   string
	server func(addr, store string) (*exec.Cmd, error)
	make   func(ctx context.Context, url string) error // after the server is ready; nil: nothing
	bare   bool                                        // has no layout on an empty store; the warm store is laid out for it
	Cold   samples
	Warm   samples
}

// startup measures from exec until a client that connects finds the layout: cold on an empty store, warm on the store
// that a server with the layout left behind. Each round starts every contestant once cold and once warm, each time
// beginning with another one. That the layout stands is asked for after the clock has stopped.
func startup(ctx context.Context, flags *flag.FlagSet, args []string) error {
	rounds := flags.Int("rounds", 15, "how often everything is measured")
	bus := flags.String("bus", "", "the `binary` to measure; without it, one is built from the working tree")
	bin := flags.String("bin", "bin", "`folder` for the programs that are built")
	dir := flags.String("dir", os.TempDir(), "`folder` on the disk to measure on")
	asJSON := flags.Bool("json", false, "print JSON, with every sample")
	markdown := flags.Bool("markdown", false, "print a Markdown table")
	cold := flags.Float64("require-cold", 0, "fail unless natscli takes at least this many `times` as long, cold")
	warm := flags.Float64("require-warm", 0, "fail unless natscli takes at least this many `times` as long, warm")
	if err := flags.Parse(args); err != nil {
		return err
	}

	work, err := os.MkdirTemp(*dir, "deltran-bus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	field, err := contestants(ctx, *bus, *bin, work)
	if err != nil {
		return err
	}
	for round := range *rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, *rounds)
		for i := range field.all {
			c := field.all[(round+i)%len(field.all)]
			if err := field.measure(ctx, c, work); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}

	switch {
	case *asJSON:
		err = writeJSON(os.Stdout, field.json(*rounds))
	case *markdown:
		field.table(*rounds).markdown(os.Stdout)
	default:
		field.table(*rounds).text(os.Stdout)
	}
	return errors.Join(err,
		atLeast("cold", field.script.Cold.times(field.bus.Cold), *cold),
		atLeast("warm", field.script.Warm.times(field.bus.Warm), *warm))
}

func atLeast(what string, times, required float64) error {
	if times < required {
		return fmt.Errorf("%s: nats-server and natscli take %.1f times as long, required are %g", what, times, required)
	}
	return nil
}

// A field is everything that is measured in one run.
type field struct {
	nats        string // the version of nats-server
	layout      *layout
	bus, script *contestant // the two that the ratio is about
	all         []*contestant
}

func contestants(ctx context.Context, bus, bin, work string) (_ *field, err error) {
	if bus == "" {
		if bus, err = tools.Bus(ctx, bin); err != nil {
			return nil, err
		}
	}
	stock, err := tools.NATSServer(ctx, bin)
	if err != nil {
		return nil, err
	}
	cli, err := tools.CLI(ctx, bin)
	if err != nil {
		return nil, err
	}
	deltran := func(more ...string) func(addr, store string) (*exec.Cmd, error) {
		return func(addr, store string) (*exec.Cmd, error) {
			return exec.Command(bus, append([]string{
				"serve", "--listen", addr, "--monitor", "127.0.0.1:0", "--store-dir", store}, more...)...), nil
		}
	}

	version, err := exec.CommandContext(ctx, stock, "--version").Output()
	if err != nil {
		return nil, err
	}
	f := &field{nats: strings.TrimSpace(string(version))}
	if f.layout, err = learn(ctx, deltran(), work); err != nil {
		return nil, err
	}
	commands, err := f.layout.commands(work)
	if err != nil {
		return nil, err
	}
	setup := func(ctx context.Context, url string) error {
		for _, args := range commands {
			cmd := exec.CommandContext(ctx, cli, args...)
			cmd.Env = append(os.Environ(), "HOME="+work, "XDG_CONFIG_HOME="+work, "NATS_URL="+url, "NATS_CONTEXT=")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%v: %w:\n%s", args, err, out)
			}
		}
		return nil
	}
	empty := filepath.Join(work, "empty.toml")
	if err := os.WriteFile(empty, fmt.Appendf(nil, `
		bus.default_streams = false
		nats.jetstream.max_file_store = %q
	`, roomy), 0o600); err != nil {
		return nil, err
	}
	always, lazily := natsServer(stock, work, "always"), natsServer(stock, work, "2m")

	f.bus = &contestant{name: "deltran-bus", server: deltran()}
	f.script = &contestant{name: "nats-server, ten natscli commands", server: always, make: setup}
	f.all = []*contestant{
		f.bus,
		f.script,
		{name: "the same with NATS's default sync, 2m", server: lazily, make: setup},
		{name: "nats-server, one Go client, all at once", server: always, make: f.layout.create},
		{name: "floor: deltran-bus declaring nothing", server: deltran("--config", empty), bare: true},
		{name: "floor: the same, one Go client, all at once", server: deltran("--config", empty), make: f.layout.create},
		{name: "floor: nats-server alone", server: always, bare: true},
	}
	return f, nil
}

// learn starts the bus once, untimed, and reads its layout.
func learn(ctx context.Context, server func(addr, store string) (*exec.Cmd, error), work string) (*layout, error) {
	c := &contestant{server: server}
	store := filepath.Join(work, "learn")
	defer os.RemoveAll(store)
	l, err := c.start(ctx, store)
	if err != nil {
		return nil, err
	}
	found, err := readLayout(ctx, l.url)
	if err == nil && (len(found.streams) != 8 || len(found.consumers) != 2) {
		err = fmt.Errorf("%d streams and %d consumers stand, the specification has 8 and 2", len(found.streams), len(found.consumers))
	}
	return found, errors.Join(err, l.stop())
}

func (c *contestant) start(ctx context.Context, store string) (*launched, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	cmd, err := c.server(addr, store)
	if err != nil {
		return nil, err
	}
	return launch(ctx, cmd, addr)
}

// measure takes one cold and one warm sample.
func (f *field) measure(ctx context.Context, c *contestant, work string) error {
	store, err := os.MkdirTemp(work, "store-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(store)

	none := &layout{}
	cold, err := c.once(ctx, store, pick(c.bare, none, f.layout))
	if err != nil {
		return fmt.Errorf("cold: %w", err)
	}
	if c.bare {
		if _, err := (&contestant{server: c.server, make: f.layout.create}).once(ctx, store, f.layout); err != nil {
			return fmt.Errorf("between: %w", err)
		}
	}
	warm, err := c.once(ctx, store, f.layout)
	if err != nil {
		return fmt.Errorf("warm: %w", err)
	}
	c.Cold, c.Warm = append(c.Cold, cold), append(c.Warm, warm)
	return nil
}

// once starts the contestant, stops the clock when its layout is made, and then looks whether it is.
func (c *contestant) once(ctx context.Context, store string, want *layout) (time.Duration, error) {
	l, err := c.start(ctx, store)
	if err != nil {
		return 0, err
	}
	took := l.ready
	if c.make != nil {
		err = c.make(ctx, l.url)
		took = time.Since(l.begun)
	}
	if err == nil {
		err = want.standing(ctx, l.url)
	}
	return took, errors.Join(err, l.stop())
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
