package main

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/deltran/deltran-bus/server"
)

// notifier tells systemd how far the bus is, where systemd started it; elsewhere it does nothing.
type notifier struct {
	once  sync.Once
	ticks <-chan time.Time
}

func (n *notifier) say(state string) { _, _ = daemon.SdNotify(false, state) }

func (n *notifier) ready() { n.say(daemon.SdNotifyReady + "\nSTATUS=serving") }

func (n *notifier) reloading() {
	n.say(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonic().Microseconds()))
}

func (n *notifier) stopping() { n.say(daemon.SdNotifyStopping) }

// waiting tells the people and systemd every two seconds what a start is waiting for, until it is closed: reading a
// big store takes its time, and must not be taken for hanging.
func (n *notifier) waiting(until <-chan struct{}, srv *server.Server, log *slog.Logger) {
	const every = 2 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		n.say(fmt.Sprintf("STATUS=%s\nEXTEND_TIMEOUT_USEC=%d", srv.State().Phase, (30 * time.Second).Microseconds()))
		select {
		case <-until:
			return
		case <-tick.C:
			log.Info("not ready yet", "phase", srv.State().Phase, "for", time.Since(begun).Round(time.Second))
		}
	}
}

// watchdog ticks twice in each of systemd's watchdog periods, and never without one.
func (n *notifier) watchdog() <-chan time.Time {
	n.once.Do(func() {
		if period, err := daemon.SdWatchdogEnabled(false); err == nil && period > 0 {
			n.ticks = time.Tick(period / 2)
		}
	})
	return n.ticks
}

// alive tells the watchdog that a client would get an answer, if one would.
func (n *notifier) alive(srv *server.Server) {
	if nc, err := srv.Connect(); err == nil {
		defer nc.Close()
		if _, err := nc.RTT(); err == nil {
			n.say(daemon.SdNotifyWatchdog)
		}
	}
}
