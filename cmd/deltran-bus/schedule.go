package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/deltran/deltran-bus/backup"
	"github.com/deltran/deltran-bus/config"
	"github.com/dustin/go-humanize"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// scheduled is the schedule of [backup] while it runs.
type scheduled struct {
	*backup.Schedule
	as   config.Backup
	stop func() // ends it, and what it is doing
}

// backUp starts the schedule that the declaration asks for, and ends the one before if that was another.
func (b *bus) backUp(cfg *config.Config) {
	if now := b.scheduled.Load(); now != nil {
		if now.as == cfg.Backup {
			return
		}
		b.noBackup()
	}
	if cfg.Backup.Every == 0 {
		return
	}
	s := &scheduled{as: cfg.Backup, Schedule: backup.NewSchedule(backup.ScheduleOptions{
		Every: cfg.Backup.Every, Dir: cfg.Backup.Dir, Keep: cfg.Backup.Keep, Rate: cfg.Backup.Rate, Name: archiveName(cfg), Version: version(), Log: b.log,
		Connect: func() (*nats.Conn, error) { // when nats-server is started anew nothing answers on it any more: better to begin anew
			return b.srv.Connect(nats.Name("deltran-bus backup"), nats.NoReconnect())
		},
	})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.c.Context))
	done := make(chan struct{})
	s.stop = func() { cancel(); <-done }
	go func() { defer close(done); s.Run(ctx) }()
	b.scheduled.Store(s)
}

// unpark mends what a restore that was killed has left, before anybody can begin another one.
func (b *bus) unpark(ctx context.Context) {
	n := b.srv.NATS()
	if n.JetStreamIsClustered() { // by way of another node one may be under way
		return
	}
	if jsz, err := n.Jsz(&natsserver.JSzOptions{Streams: true, Config: true}); err == nil && len(parked(jsz)) == 0 {
		return // as nearly always, and a connection would cost the start more
	}
	nc, err := b.srv.Connect(nats.Name("deltran-bus restore"))
	if err == nil {
		var names []string
		names, err = backup.Unpark(ctx, nc)
		nc.Close()
		for _, name := range names {
			b.log.Warn("a restore that was to replace this stream did not come to its end: the stream takes publishes again", "stream", name)
		}
	}
	if err != nil {
		b.log.Error("streams that a restore was to replace may take no publishes; deltran-bus status names them", "error", err)
	}
}

// parked are the streams that a restore has taken their subjects from.
func parked(jsz *natsserver.JSInfo) (names []string) {
	for _, a := range jsz.AccountDetails {
		for _, s := range a.Streams {
			if s.Config != nil && backup.Parked(s.Config.Metadata) {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

// noBackup ends the schedule, if there is one.
func (b *bus) noBackup() {
	if s := b.scheduled.Swap(nil); s != nil {
		s.stop()
	}
}

// backupStatus is how the schedule stands, nil if there is none.
func (b *bus) backupStatus() *backup.Status {
	s := b.scheduled.Load()
	if s == nil {
		return nil
	}
	st := s.Status()
	return &st
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// archiveName is what the names of a bus's archives begin with.
func archiveName(cfg *config.Config) string {
	name, _ := cfg.NATS["server_name"].(string)
	if name = notInNames.ReplaceAllString(name, "-"); name == "" {
		return "deltran-bus"
	}
	return name
}

// backupOverview is what status says of the schedule, nil where there is none on this machine.
type backupOverview struct {
	Every float64     `json:"every_seconds"`
	Dir   string      `json:"dir"`
	Last  *backup.Run `json:"last,omitempty"`
}

func backups(cfg *config.Config) *backupOverview {
	if cfg.Backup.Every == 0 {
		return nil
	}
	return &backupOverview{cfg.Backup.Every.Seconds(), cfg.Backup.Dir, backup.LastRun(cfg.Backup.Dir, archiveName(cfg))}
}

// write is a line for people.
func (b *backupOverview) write(w io.Writer, now time.Time) error {
	every := config.FormatDuration(time.Duration(b.Every * float64(time.Second)))
	if b.Last == nil {
		_, err := fmt.Fprintf(w, "\nbackup: none yet in %s, due every %s\n", b.Dir, every)
		return err
	}
	late := ""
	if now.Sub(b.Last.Moment).Seconds() > 2*b.Every {
		late = "; OVERDUE, /readyz and the log say why"
	}
	_, err := fmt.Fprintf(w, "\nbackup: %s ago, %s in %s, %s; due every %s%s\n", ago(now, b.Last.Moment), humanize.IBytes(uint64(b.Last.Size)),
		took(time.Duration(b.Last.Seconds*float64(time.Second))), b.Last.File, every, late)
	return err
}
