package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/monitor"
	"github.com/deltran/deltran-bus/server"
	"github.com/urfave/cli/v2"
)

func serveFlags() []cli.Flag {
	return append(configFlags(),
		&cli.BoolFlag{Name: "ephemeral", Usage: "keep everything in memory and nothing after the end"},
		&cli.BoolFlag{Name: "init", Usage: "make the first store although [bus] store_must_exist"},
		&cli.StringFlag{Name: "ports-file", Usage: "write the addresses to `FILE` when ready"},
		&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` of the log: text or json (default: text)"},
		&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` of the log: error, warn, info, debug or trace (default: info)"},
	)
}

// bus is one run of serve.
type bus struct {
	c       *cli.Context
	log     *slog.Logger
	temp    string // the store of --ephemeral
	srv     *server.Server
	mon     *monitor.Monitor
	systemd notifier
}

func serve(c *cli.Context) (err error) {
	b := &bus{c: c}
	if b.log, err = newLog(c); err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // from the start: a reload must not kill a bus that is still starting
	defer signal.Stop(hup)
	defer func() { err = errors.Join(b.end(err), b.removeTemp()) }()
	cfg, err := b.load(c.Context)
	if err != nil {
		return err
	}
	if err := b.open(cfg); err != nil {
		return err
	}
	for {
		select {
		case <-c.Context.Done():
			return nil
		case <-b.srv.Done():
			return errors.New("nats-server ended by itself; the log says why")
		case <-hup:
			b.reload()
		case <-b.systemd.watchdog():
			b.systemd.alive(b.srv)
		}
	}
}

// load reads and judges the declaration as serve means it; again at every reload.
func (b *bus) load(ctx context.Context) (*config.Config, error) {
	src, err := sources(b.c)
	if err != nil {
		return nil, err
	}
	ephemeral, err := on(b.c, "ephemeral")
	if err != nil {
		return nil, err
	}
	first, err := on(b.c, "init")
	if err != nil {
		return nil, err
	}
	if ephemeral {
		if b.temp == "" {
			if b.temp, err = os.MkdirTemp("", "deltran-bus-"); err != nil {
				return nil, fmt.Errorf("--ephemeral: no temporary folder can be made in %s: %w; TMPDIR names another", os.TempDir(), plainPath(err))
			}
		}
		src = append(src, config.Set("--ephemeral", "nats.jetstream.store_dir", filepath.Join(b.temp, "store")))
	}
	cfg, err := unless(ctx, func() (*config.Config, error) { return config.Check(ctx, src...) }) // a secret's file may keep it waiting
	if err != nil {
		return nil, err
	}
	if b.temp != "" {
		cfg = cfg.Ephemeral()
	}
	if first {
		cfg.Bus.StoreMustExist = false
	}
	return cfg, nil
}

// removeTemp takes back the store of --ephemeral.
func (b *bus) removeTemp() error {
	if b.temp == "" {
		return nil
	}
	return os.RemoveAll(b.temp)
}

// open goes the way of a declaration: monitor, store, layout, gate; then it tells everybody.
func (b *bus) open(cfg *config.Config) (err error) {
	ctx := b.c.Context
	if err := b.probePortsFile(); err != nil {
		return err
	}
	b.srv = server.New(cfg, b.log)
	if cfg.Bus.AllowInsecure {
		b.log.Warn("[bus] allow_insecure: other machines may reach this bus without authentication or TLS")
	}
	if cfg.Monitor.Listen != "" {
		if b.mon, err = monitor.Open(cfg.Monitor.Listen, b.srv, monitor.Options{
			Version: version(), Debug: cfg.Monitor.Debug, AllowOrigin: cfg.Monitor.AllowOrigin, Logger: b.log,
		}); err != nil {
			return err
		}
	}
	waited := make(chan struct{})
	go b.systemd.waiting(waited, b.srv, b.log)
	err = errors.Join(b.srv.Open(ctx))
	if err == nil {
		err = b.srv.Listen()
	}
	close(waited)
	if err != nil {
		return err
	}
	ready := time.Since(begun)
	if err := b.writePorts(); err != nil {
		return err
	}
	b.logHeld(b.srv.State())
	b.banner(ready)
	b.systemd.ready()
	return nil
}

// reload takes the configuration as it is now; whatever is wrong with it changes nothing.
func (b *bus) reload() {
	b.systemd.reloading()
	defer b.systemd.ready()
	cfg, err := b.load(b.c.Context)
	if err == nil {
		err = b.srv.Reload(b.c.Context, cfg)
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			b.log.Error("reload refused, nothing was changed", "problem", p.Error())
		}
		return
	}
	if err != nil {
		b.log.Error("reload refused", "error", err)
		return
	}
	st := b.srv.State()
	b.log.Info("reloaded", "changed", len(st.Done.Changes), "held_back", len(st.Plan.Changes))
	b.logHeld(st)
}

// end stops the bus, in whatever phase it is, and makes the last of the errors. A stop that was asked for is none.
func (b *bus) end(err error) error {
	asked := b.c.Context.Err() != nil
	b.systemd.stopping()
	if asked && (errors.Is(err, context.Canceled) || errors.Is(err, server.ErrInterrupted)) {
		b.log.Info("stopped before it was ready")
		err = nil
	}
	if b.srv != nil {
		if err == nil {
			b.log.Info("stopping", "clients", b.clients())
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.c.Context), b.srv.Config().Bus.LameDuck+time.Second)
		defer cancel()
		err = errors.Join(err, b.srv.Close(ctx))
		if b.mon != nil {
			err = errors.Join(err, b.mon.Close(ctx))
		}
	}
	b.removePorts()
	if err == nil && b.srv != nil {
		b.log.Info("stopped")
	}
	return err
}

func (b *bus) clients() int {
	if n := b.srv.NATS(); n != nil {
		return n.NumClients()
	}
	return 0
}

// on reports whether a switch is on, on the command line or in the environment.
func on(c *cli.Context, flag string) (bool, error) {
	v, origin := setting(c, flag)
	if origin == "" {
		return false, nil
	}
	is, err := strconv.ParseBool(v)
	if err != nil {
		return false, misuse("%s %q is neither true nor false", origin, v)
	}
	return is, nil
}

func newLog(c *cli.Context) (*slog.Logger, error) {
	levels := map[string]slog.Level{"": slog.LevelInfo, "error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug, "trace": server.LevelTrace}
	word, origin := setting(c, "log-level")
	level, ok := levels[word]
	if !ok {
		return nil, misuse("%s %q is not a level; error, warn, info, debug or trace", origin, word)
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey && a.Value.Any() == server.LevelTrace {
			a.Value = slog.StringValue("TRACE")
		}
		return a
	}}
	switch format, origin := setting(c, "log-format"); format {
	case "", "text":
		return slog.New(slog.NewTextHandler(c.App.ErrWriter, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(c.App.ErrWriter, opts)), nil
	default:
		return nil, misuse("%s %q is not a format; text or json", origin, format)
	}
}

// addresses is the ports file: where a bus that picked its ports itself can be found.
type addresses struct {
	PID     int    `json:"pid"`
	Client  string `json:"client"`            // nats://127.0.0.1:41234
	Monitor string `json:"monitor,omitempty"` // http://127.0.0.1:38123
}

func (b *bus) addresses() addresses {
	a := addresses{PID: os.Getpid(), Client: b.srv.ClientURL()}
	if b.mon != nil {
		a.Monitor = b.mon.URL()
	}
	return a
}

// probePortsFile finds out before anything is touched whether the ports file can be written.
func (b *bus) probePortsFile() error {
	name, origin := setting(b.c, "ports-file")
	if name == "" {
		return nil
	}
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return fmt.Errorf("%s %s: is a folder; name a file", origin, name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("%s %s: cannot be written: %w", origin, name, plainPath(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writePorts writes the ports file whole or not at all: whoever waits for it may read it at once.
func (b *bus) writePorts() error {
	name, _ := setting(b.c, "ports-file")
	if name == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("ports file: %w", err)
	}
	err = errors.Join(writeJSON(f, b.addresses()), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("ports file: %w", err)
	}
	return nil
}

// removePorts takes back the ports file, if it is ours.
func (b *bus) removePorts() {
	name, _ := setting(b.c, "ports-file")
	if name != "" && b.srv != nil && b.srv.State().Storage.Dir != "" {
		_ = os.Remove(name)
	}
}
