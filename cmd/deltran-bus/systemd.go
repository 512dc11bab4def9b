package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/deltran/deltran-bus/server"
)

// notifier tells systemd how far the bus is, where systemd started it; elsewhere it does nothing.
type notifier struct{}

func (n notifier) say(state string) { _, _ = daemon.SdNotify(false, state) }

func (n notifier) ready() { n.say(daemon.SdNotifyReady + "\nSTATUS=serving") }

func (n notifier) reloading() {
	n.say(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonic().Microseconds()))
}

func (n notifier) stopping() { n.say(daemon.SdNotifyStopping) }

// waiting tells the people and systemd every two seconds what a start is waiting for, until it is closed: reading a
// big store takes its time, and must not be taken for hanging.
// While the bus holds, which may last until somebody comes in the morning, they are told once where to look.
func (n notifier) waiting(until <-chan struct{}, srv *server.Server, monitor string, log *slog.Logger) {
	const every = 2 * time.Second
	told := false
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		n.say(fmt.Sprintf("STATUS=%s\nEXTEND_TIMEOUT_USEC=%d", srv.State().Phase, (30 * time.Second).Microseconds()))
		select {
		case <-until:
			return
		case <-tick.C:
			if srv.State().Phase == server.Holding {
				if !told {
					log.Warn("waiting for a decision; deltran-bus doctor and /readyz say about what", "monitor", monitor)
				}
				told = true
				continue
			}
			log.Info("not ready yet", "phase", srv.State().Phase, "for", time.Since(begun).Round(time.Second))
		}
	}
}

// watch tells systemd, twice in each period of its watchdog, that a client would get an answer, if one would. The
// function it returns ends that, and waits for the end.
func (n notifier) watch(srv *server.Server) (end func()) {
	period, err := daemon.SdWatchdogEnabled(false)
	if err != nil || period == 0 {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(period / 2)
		defer tick.Stop()
		for {
			if srv.State().Phase != server.Serving || answers(srv) { // nats-server may be started anew within the process
				n.say(daemon.SdNotifyWatchdog)
			}
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(quit); <-ended }
}

func answers(srv *server.Server) bool {
	nc, err := srv.Connect()
	if err != nil {
		return false
	}
	defer nc.Close()
	_, err = nc.RTT()
	return err == nil
}
