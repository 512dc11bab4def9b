package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
)

// A way is one way to have a JetStream with the layout on it.
type way struct {
	name   string
	binary string // empty: none of its own
	start  func(ctx context.Context, store, sync string) (*instance, error)
}

// An instance is one running server, the layout standing. The process is nil for the one within this program.
type instance struct {
	process *launched
	connect func() (*nats.Conn, error)
	close   func() error // for good, in the fastest way: its store is thrown away
}

// ways are what is compared, the stock server first. All have the same limits, payloads, sync and layout.
func ways(ctx context.Context, bus, bin, work string) (_ []*way, version string, err error) {
	if bus == "" {
		if bus, err = tools.Bus(ctx, bin); err != nil {
			return nil, "", err
		}
	}
	stock, err := tools.NATSServer(ctx, bin)
	if err != nil {
		return nil, "", err
	}
	text, err := exec.CommandContext(ctx, stock, "--version").Output()
	if err != nil {
		return nil, "", err
	}
	ours := func(sync string) func(addr, store string) (*exec.Cmd, error) {
		return func(addr, store string) (*exec.Cmd, error) {
			file := filepath.Join(work, "bus.toml")
			settings := fmt.Appendf(nil, "nats.jetstream.max_file_store = %q\nnats.jetstream.sync_interval = %q\n", roomy, sync)
			return exec.Command(bus, "serve", "--config", file, "--listen", addr, "--monitor", "127.0.0.1:0",
				"--store-dir", store), os.WriteFile(file, settings, 0o600)
		}
	}
	layout, err := learn(ctx, ours("always"), work)
	if err != nil {
		return nil, "", err
	}
	return []*way{
		{"nats-server", stock, func(ctx context.Context, store, sync string) (*instance, error) {
			return spawn(ctx, natsServer(stock, work, sync), store, layout)
		}},
		{"deltran-bus", bus, func(ctx context.Context, store, sync string) (*instance, error) {
			return spawn(ctx, ours(sync), store, nil)
		}},
		{"in process", "", embedded},
	}, string(text), nil
}

// spawn starts one process; on an empty store a client makes the layout, unless it is nil.
func spawn(ctx context.Context, server func(addr, store string) (*exec.Cmd, error), store string, l *layout) (*instance, error) {
	_, err := os.Stat(filepath.Join(store, "jetstream"))
	empty := errors.Is(err, fs.ErrNotExist)
	p, err := (&contestant{server: server}).start(ctx, store)
	if err != nil {
		return nil, err
	}
	if empty && l != nil {
		if err := l.create(ctx, p.url); err != nil {
			return nil, errors.Join(err, p.kill())
		}
	}
	return &instance{p, func() (*nats.Conn, error) { return nats.Connect(p.url) }, p.kill}, nil
}

// embedded is the bus as a library: its clients are in the same process and no socket is between them.
func embedded(ctx context.Context, store, sync string) (*instance, error) {
	cfg, err := config.Load(
		config.Set("bench", "nats.listen", "127.0.0.1:0"),
		config.Set("bench", "nats.jetstream.store_dir", store),
		config.Set("bench", "nats.jetstream.max_file_store", roomy),
		config.Set("bench", "nats.jetstream.sync_interval", sync))
	if err != nil {
		return nil, err
	}
	bus, err := server.Start(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &instance{nil, func() (*nats.Conn, error) { return bus.Connect() },
		func() error { return bus.Close(context.WithoutCancel(ctx)) }}, nil
}

// fresh gives do a new server on an empty store and a client of it, and throws both away.
func (w *way) fresh(ctx context.Context, work, sync string, do func(*instance, *nats.Conn) (float64, error)) (_ float64, err error) {
	store, err := os.MkdirTemp(work, "store-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(store)
	return w.with(ctx, store, sync, do)
}

// with gives do a server on the store and a client of it, and ends both.
func (w *way) with(ctx context.Context, store, sync string, do func(*instance, *nats.Conn) (float64, error)) (_ float64, err error) {
	in, err := w.start(ctx, store, sync)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	nc, err := in.connect()
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	return do(in, nc)
}
