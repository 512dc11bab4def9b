package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/audit"
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
	ports   portsFile
	srv     *server.Server
	mon     *monitor.Monitor
	src     []config.Source // the declaration in force
	files   watcher
	systemd notifier
	unwatch func() // nil until the bus is ready
	settled func() // when it is

	scheduled  atomic.Pointer[scheduled]  // nil: no backups
	collecting atomic.Pointer[collecting] // nil: no dead letters are made
	auditing   atomic.Pointer[auditing]   // nil: nothing is recorded
}

func serve(c *cli.Context) (err error) {
	b := &bus{c: c, settled: hurry()}
	if b.log, err = newLog(c); err != nil {
		return err
	}
	b.ports.name, b.ports.origin = setting(c, "ports-file")
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
	b.files.use(cfg)
	defer b.files.stop()
	daily := time.NewTicker(day)
	defer daily.Stop()
	for {
		select {
		case <-c.Context.Done():
			return nil
		case <-b.srv.Done():
			return errors.New("nats-server ended by itself; the log says why")
		case <-hup:
			b.reload("SIGHUP", b.load)
		case <-b.files.due():
			if files := strings.Join(b.files.changed(b.srv.Config()), ", "); files != "" {
				b.log.Info("what the configuration names has changed", "files", files)
				b.reload(files+" changed", b.judge)
			}
		case <-daily.C:
			b.logExpiry(b.srv.Config())
		}
	}
}

// load reads and judges the declaration; again at every reload that was asked for.
func (b *bus) load(ctx context.Context) (*config.Config, error) {
	src, err := sources(b.c)
	if err != nil {
		return nil, err
	}
	before := b.src
	b.src = src
	cfg, err := b.judge(ctx)
	if err != nil {
		b.src = before
	}
	return cfg, err
}

// judge judges the declaration that was read last, with the files that it names as they are now, as serve means it.
func (b *bus) judge(ctx context.Context) (*config.Config, error) {
	src := slices.Clone(b.src)
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
	if err := b.ports.probe(); err != nil {
		return err
	}
	b.srv = server.New(cfg, b.log, server.Patient, server.OnRefusal(b.refused), server.OnIncident(b.happened))
	switch {
	case cfg.Bus.AllowInsecure:
		b.log.Warn("[bus] allow_insecure: other machines may reach this bus without authentication or TLS")
	case cfg.Monitor.AllowInsecure:
		b.log.Warn("[monitor] allow_insecure: other machines may read what monitoring shows, without authentication or TLS")
	}
	if cfg.Monitor.Listen != "" {
		access, err := cfg.MonitorAccess()
		if err != nil {
			return err
		}
		if b.mon, err = monitor.Open(cfg.Monitor.Listen, b.srv, monitor.Options{
			Version: version(), Debug: cfg.Monitor.Debug, AllowOrigin: cfg.Monitor.AllowOrigin, Logger: b.log, Backup: b.backupStatus,
			Access: monitor.Access(access), OpenProbes: cfg.Monitor.OpenProbes, DeadLetters: b.deadLetters, Audit: b.auditStatus, Refused: b.monitorRefused,
		}); err != nil {
			return err
		}
	}
	b.logExpiry(cfg)
	if weak := lessDurable(cfg.Streams); len(weak) > 0 && b.temp == "" {
		b.log.Warn("an acknowledgement does not mean on the disk for some streams", "streams", strings.Join(weak, ", "))
	}
	waited := make(chan struct{})
	go b.systemd.waiting(waited, b.srv, b.addresses().Monitor, b.log)
	err = b.srv.Open(ctx)
	if err == nil {
		b.unpark(ctx)
		b.listen(cfg)
		err = b.srv.Listen()
	}
	close(waited)
	if err != nil {
		return err
	}
	ready := time.Since(begun)
	b.settled()
	if err := b.ports.write(b.addresses()); err != nil {
		return err
	}
	b.record()
	b.collect(cfg)
	b.logHeld(b.srv.State())
	b.banner(ready)
	b.systemd.ready()
	b.unwatch = b.systemd.watch(b.srv)
	b.backUp(cfg)
	return nil
}

// reload takes the configuration as it is now, or only the files that it names; whatever is wrong with it changes nothing.
func (b *bus) reload(because string, load func(context.Context) (*config.Config, error)) {
	b.systemd.reloading()
	defer b.systemd.ready()
	before, old := b.src, b.srv.Config()
	cfg, err := load(b.c.Context)
	var access config.MonitorAccess
	if err == nil {
		access, err = cfg.MonitorAccess()
	}
	if err == nil {
		err = b.srv.Reload(b.c.Context, cfg)
	}
	if err != nil {
		b.src = before
	} else {
		if b.mon != nil {
			b.mon.Renew(monitor.Access(access))
		}
		b.files.use(cfg)
		b.logExpiry(cfg)
	}
	if err != nil {
		b.audited(audit.Bus, "reload-refused", reloadedRecord{Because: because, Error: err.Error()})
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
	b.backUp(cfg)
	b.collect(cfg)
	st := b.srv.State()
	b.audited(audit.Bus, "reloaded", reloadedRecord{Because: because, Changed: cfg.Changes(old), Made: changesOf(st.Done), Held: changesOf(st.Plan)})
	b.relisten(cfg)
	b.log.Info("reloaded", "changed", len(st.Done.Changes), "held_back", len(st.Plan.Changes))
	b.logHeld(st)
}

// logExpiry warns of certificates that have to be renewed.
func (b *bus) logExpiry(cfg *config.Config) {
	now := time.Now()
	for _, f := range cfg.CertificateFiles() {
		if f.Soon(now) {
			b.log.Warn("a certificate "+expiry(f.Expires, now)+": renew it", "file", f.File, "of", f.Key, "subject", f.Subject, "expires", f.Expires.UTC().Format(time.RFC3339))
		}
	}
}

// expiry says when a certificate expires, or since when it has.
func expiry(t, now time.Time) string {
	if t.Before(now) {
		return "has expired"
	}
	return fmt.Sprintf("expires in %s", count(int(t.Sub(now)/day), "day"))
}

// end stops the bus, in whatever phase it is, and makes the last of the errors. A stop that was asked for is none.
func (b *bus) end(err error) error {
	asked := b.c.Context.Err() != nil
	b.systemd.stopping()
	if b.unwatch != nil {
		b.unwatch()
	}
	b.noBackup()
	b.stopCollecting()
	b.stopAuditing("stopping", stopRecord(asked, err))
	if asked && (errors.Is(err, context.Canceled) || errors.Is(err, server.ErrInterrupted) || errors.Is(err, server.ErrHolding)) {
		b.log.Info("stopped before it was ready")
		err = nil
	}
	if b.srv != nil {
		if err == nil {
			b.log.Info("stopping", "clients", b.srv.Clients())
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.c.Context), b.srv.Config().Bus.LameDuck+time.Second)
		defer cancel()
		err = errors.Join(err, b.srv.Close(ctx))
		if b.mon != nil {
			err = errors.Join(err, b.mon.Close(ctx))
		}
	}
	b.ports.remove()
	if err == nil && b.srv != nil {
		b.log.Info("stopped")
	}
	return err
}

// hurry lets garbage wait while the bus starts, which takes a tenth off; the function it returns ends that. Whoever has
// set GOGC has decided otherwise.
func hurry() (settled func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	usual := debug.SetGCPercent(400)
	return func() { debug.SetGCPercent(usual) }
}

func (b *bus) addresses() addresses {
	a := addresses{PID: os.Getpid(), Client: b.srv.ClientURL()}
	if u, err := url.Parse(a.Client); err == nil {
		u.Host = net.JoinHostPort(reachable(u.Hostname()), u.Port())
		a.Client = u.String()
	}
	if b.mon != nil {
		a.Monitor = b.mon.URL()
	}
	return a
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
