package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/deltran/deltran-bus/backup"
	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
)

func statusFlags() []cli.Flag { return remoteFlags() }

// overview is what status --json prints.
type overview struct {
	Server             string         `json:"server"`
	CertificateExpires time.Time      `json:"certificate_expires,omitzero"` // of the bus, where it has TLS
	Refusing           string         `json:"refusing,omitempty"`           // why publishes are refused; of the bus on this machine only
	Streams            []streamStatus `json:"streams"`

	Backup      *backupOverview `json:"backup,omitempty"`       // of the bus on this machine, if it makes backups
	DeadLetters *letterOverview `json:"dead_letters,omitempty"` // where any are made
}

type streamStatus struct {
	Name      string           `json:"name"`
	Storage   string           `json:"storage"`
	Messages  uint64           `json:"messages"`
	Bytes     uint64           `json:"bytes"`
	MaxBytes  int64            `json:"max_bytes"` // -1: no limit
	FirstSeq  uint64           `json:"first_seq"`
	LastSeq   uint64           `json:"last_seq"`
	Oldest    time.Time        `json:"oldest,omitzero"`
	Newest    time.Time        `json:"newest,omitzero"`
	MaxAge    time.Duration    `json:"max_age"` // nanoseconds; 0: no limit
	Declared  bool             `json:"declared"`
	Own       bool             `json:"own,omitempty"`    // the bus made it for itself
	Parked    bool             `json:"parked,omitempty"` // it takes no publishes: a restore replaces it, or was to when it was killed
	Consumers []consumerStatus `json:"consumers"`
}

type consumerStatus struct {
	Name        string `json:"name"`
	Pending     uint64 `json:"pending"`     // stored and not delivered yet
	AckPending  int    `json:"ack_pending"` // delivered and not acknowledged yet
	MaxPending  int    `json:"max_ack_pending"`
	Redelivered int    `json:"redelivered"` // of those, delivered more than once
	Waiting     int    `json:"waiting"`     // pull requests that wait for a message
	AckFloor    uint64 `json:"ack_floor"`   // everything up to this stream sequence is done
	Declared    bool   `json:"declared"`
	Own         bool   `json:"own,omitempty"` // the bus made it for itself
}

func status(c *cli.Context, r *remote) error {
	o, err := survey(c.Context, r.js, r.cfg)
	if err != nil {
		return err
	}
	o.Server = plainURL(r.nc.ConnectedUrl())
	if state, err := r.nc.TLSConnectionState(); err == nil && len(state.PeerCertificates) > 0 {
		o.CertificateExpires = state.PeerCertificates[0].NotAfter
	}
	if c.String("server") == "" {
		o.Backup = backups(r.cfg)
		ctx, cancel := context.WithTimeout(c.Context, time.Second)
		defer cancel()
		if r, err := askReady(ctx, r.cfg); err == nil { // it may monitor elsewhere, or nowhere
			o.Refusing = r.Refusing
		}
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, o)
	}
	return o.write(c.App.Writer, time.Now())
}

func survey(ctx context.Context, js jetstream.JetStream, cfg *config.Config) (overview, error) {
	have, err := bootstrap.Observe(ctx, js)
	if err != nil {
		return overview{}, noJetStream(err)
	}
	declared := map[bootstrap.Ref]bool{}
	for _, s := range cfg.Streams {
		declared[bootstrap.Ref{Stream: s.Name}] = true
		for _, con := range s.Consumers {
			declared[bootstrap.Ref{Stream: s.Name, Consumer: con.Name}] = true
		}
	}
	o := overview{Streams: []streamStatus{}, DeadLetters: lettersIn(have)}
	for _, name := range slices.Sorted(maps.Keys(have.Streams)) {
		h := have.Streams[name]
		s := streamStatus{
			Name: name, Storage: h.Config.Storage.String(), Messages: h.State.Msgs, Bytes: h.State.Bytes, MaxBytes: cmp.Or(h.Config.MaxBytes, -1),
			FirstSeq: h.State.FirstSeq, LastSeq: h.State.LastSeq, MaxAge: h.Config.MaxAge,
			Declared: declared[bootstrap.Ref{Stream: name}], Own: h.Config.Metadata[bootstrap.Owner] != "", Parked: backup.Parked(h.Config.Metadata), Consumers: []consumerStatus{},
		}
		if s.Messages > 0 {
			s.Oldest, s.Newest = h.State.FirstTime, h.State.LastTime
		}
		for _, name := range slices.Sorted(maps.Keys(h.Consumers)) {
			i := h.Consumers[name].Info
			s.Consumers = append(s.Consumers, consumerStatus{
				Name: name, Pending: i.NumPending, AckPending: i.NumAckPending, MaxPending: h.Consumers[name].Config.MaxAckPending,
				Redelivered: i.NumRedelivered, Waiting: i.NumWaiting, AckFloor: i.AckFloor.Stream,
				Declared: declared[bootstrap.Ref{Stream: s.Name, Consumer: name}], Own: h.Consumers[name].Config.Metadata[bootstrap.Owner] != "",
			})
		}
		o.Streams = append(o.Streams, s)
	}
	return o, nil
}

// write prints the two tables for people, and what has to be done soon.
func (o overview) write(w io.Writer, now time.Time) error {
	if err := o.tables(w, now); err != nil || !(config.CertificateFile{Expires: o.CertificateExpires}).Soon(now) || o.CertificateExpires.IsZero() {
		return err
	}
	_, err := fmt.Fprintf(w, "\nthe certificate of the bus %s: renew it\n", expiry(o.CertificateExpires, now))
	return err
}

func (o overview) tables(w io.Writer, now time.Time) error {
	if o.Refusing != "" {
		if _, err := fmt.Fprintf(w, "publishing is refused: %s\n\n", o.Refusing); err != nil {
			return err
		}
	}
	if len(o.Streams) == 0 {
		_, err := fmt.Fprintf(w, "no streams at %s\n", o.Server)
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STREAM\tMESSAGES\tBYTES\tFULL\tOLDEST\tNEWEST\tKEPT\t")
	for _, s := range o.Streams {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, humanize.Comma(int64(s.Messages)), humanize.IBytes(s.Bytes),
			full(s.Bytes, s.MaxBytes), ago(now, s.Oldest), ago(now, s.Newest), kept(s.MaxAge), s.note())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	consumers := false
	for _, s := range o.Streams {
		for _, c := range s.Consumers {
			if !consumers {
				consumers = true
				fmt.Fprintln(tw, "\nCONSUMER\tPENDING\tACK PENDING\tREDELIVERED\tWAITING\tDONE UP TO\t")
			}
			fmt.Fprintf(tw, "%s/%s\t%s\t%d\t%d\t%d\t%d of %d\t%s\n", s.Name, c.Name, humanize.Comma(int64(c.Pending)), c.AckPending, c.Redelivered, c.Waiting,
				c.AckFloor, s.LastSeq, note(c.Declared || c.Own, ""))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if o.Backup != nil {
		if err := o.Backup.write(w, now); err != nil {
			return err
		}
	}
	return o.DeadLetters.write(w, now)
}

// full is how much of its quota a stream has taken.
func full(bytes uint64, limit int64) string {
	if limit <= 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", uint64(float64(bytes)/float64(limit)*100))
}

// ago is an age in its two largest units.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := max(now.Sub(t), 0)
	unit := time.Second
	switch {
	case d >= 24*time.Hour:
		unit = time.Hour
	case d >= time.Hour:
		unit = time.Minute
	case d < time.Second:
		unit = time.Millisecond
	}
	return config.FormatDuration(d.Truncate(unit))
}

func kept(d time.Duration) string {
	if d <= 0 {
		return "for ever"
	}
	return config.FormatDuration(d)
}

func (s streamStatus) note() string {
	if n := note(s.Declared || s.Own, s.Storage); !s.Parked {
		return n
	} else if n != "" {
		return takesNone + ", " + n
	}
	return takesNone
}

// takesNone is said of a stream that is parked.
const takesNone = "takes no publishes: a restore replaces it"

func note(declared bool, storage string) string {
	s := ""
	if storage == "Memory" {
		s = "memory"
	}
	if !declared {
		if s != "" {
			s += ", "
		}
		s += "not declared"
	}
	return s
}
