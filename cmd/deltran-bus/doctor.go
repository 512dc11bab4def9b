package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/monitor"
	"github.com/deltran/deltran-bus/server"
	"github.com/dustin/go-humanize"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/urfave/cli/v2"
)

func doctorFlags() []cli.Flag {
	return append(configFlags(),
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "give up asking the bus after `DURATION`"},
		jsonFlag)
}

// A diagnosis is what doctor found out about one thing.
type diagnosis struct {
	Level  level  `json:"level"`
	About  string `json:"about"`
	What   string `json:"what"`
	WayOut string `json:"way_out,omitempty"`
}

type level string

const (
	fine    level = "ok"
	remark  level = "note"
	problem level = "problem"
)

// doctor looks at this machine, its store and the bus on it, and says what is wrong and how to mend it. It changes nothing.
func doctor(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	store, err := filepath.Abs(cfg.StoreDir())
	if err != nil {
		return err
	}
	found := append([]diagnosis{onVolume(store), onSpace(cfg, store)}, append(onSync(cfg), onCertificates(cfg, time.Now())...)...)
	if why := cfg.NoRoomForDeadLetters(); why != "" {
		found = append(found, diagnosis{remark, "space", why + ": stream DEADLETTERS cannot be made when the first letter comes", "a smaller [dead_letters] max_bytes, or a larger [nats.jetstream] store"})
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	r, err := askReady(ctx, cfg)
	if err != nil {
		found = append(found, diagnosis{remark, "bus", err.Error() + "; the store was looked at from outside", "deltran-bus doctor --monitor HOST:PORT, if it monitors elsewhere"})
		found = append(found, onLedger(store)...)
		found = append(found, onFiles(c.Context, cfg, store)...)
	} else {
		found = append(found, onBus(r)...)
		found = append(found, onParked(ctx, cfg)...)
	}
	problems := 0
	for _, d := range found {
		if d.Level == problem {
			problems++
		}
	}
	if c.Bool("json") {
		if err := writeJSON(c.App.Writer, struct {
			Problems int         `json:"problems"`
			Found    []diagnosis `json:"found"`
		}{problems, found}); err != nil {
			return err
		}
	} else {
		writeDiagnoses(c.App.Writer, found)
	}
	if problems > 0 {
		return errDifferent
	}
	return nil
}

func writeDiagnoses(w io.Writer, found []diagnosis) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	for _, d := range found {
		fmt.Fprintf(t, "%s\t%s\t%s\n", d.Level, d.About, d.What)
		if d.WayOut != "" {
			fmt.Fprintf(t, "\t\t→ %s\n", d.WayOut)
		}
	}
}

func onVolume(store string) diagnosis {
	switch v := server.VolumeOf(store); {
	case v.Doubt != "":
		return diagnosis{problem, "disk", fmt.Sprintf("%s is on %s, which %s", store, v.Kind, v.Doubt), v.WayOut}
	case v.Kind != "":
		return diagnosis{fine, "disk", fmt.Sprintf("%s is on %s, which keeps what was synced", store, v.Kind), ""}
	}
	return diagnosis{remark, "disk", "this system does not say what kind of file system " + store + " is on", ""}
}

func onSpace(cfg *config.Config, store string) diagnosis {
	dir := store
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	free, err := server.FreeSpace(dir)
	if err != nil {
		return diagnosis{remark, "space", "not known here: " + err.Error(), ""}
	}
	d := diagnosis{fine, "space", humanize.IBytes(free) + " free", ""}
	if o, _, err := cfg.Options(); err == nil && o.JetStreamMaxStore > 0 && free < uint64(o.JetStreamMaxStore) {
		d = diagnosis{remark, "space", fmt.Sprintf("%s free, less than max_file_store, %s", humanize.IBytes(free), humanize.IBytes(uint64(o.JetStreamMaxStore))),
			"a larger disk, or a smaller [nats.jetstream] max_file_store"}
	}
	return d
}

// onSync says what an acknowledgement means, by the declaration; what clients make of it themselves the bus finds.
func onSync(cfg *config.Config) (out []diagnosis) {
	o, _, err := cfg.Options()
	if err != nil {
		return []diagnosis{{problem, "sync", err.Error(), ""}}
	}
	if o.SyncAlways {
		out = append(out, diagnosis{fine, "sync", "always: an acknowledgement means on the disk", ""})
	} else {
		out = append(out, diagnosis{remark, "sync", fmt.Sprintf("every %s: a power cut takes what was acknowledged since", o.SyncInterval), `[nats.jetstream] sync_interval = "always", if that must not be`})
	}
	for _, name := range lessDurable(cfg.Streams) {
		out = append(out, diagnosis{remark, "sync", "declared to be less durable: " + name, ""})
	}
	return out
}

// onCertificates looks at the certificates that the configuration names.
func onCertificates(cfg *config.Config, now time.Time) (out []diagnosis) {
	for _, f := range cfg.CertificateFiles() {
		d := diagnosis{fine, "certificate", f.String(), ""}
		switch {
		case f.Err != nil:
			d.Level, d.WayOut = problem, "name a file that this user can read, with certificates in PEM"
		case f.Soon(now):
			d.Level, d.What, d.WayOut = remark, f.String()+": "+expiry(f.Expires, now), "renew it, as with deltran-bus tls init --renew; a running bus takes it by itself"
			if f.Expires.Before(now) {
				d.Level = problem
			}
		}
		out = append(out, d)
	}
	return out
}

// onLedger looks at the ledger of a store that no bus has open, as far as that can be seen from outside.
func onLedger(store string) []diagnosis {
	book, page, ok, err := ledger.Open(store)
	switch {
	case errors.Is(err, ledger.ErrDamaged):
		return []diagnosis{{problem, "ledger", err.Error(), "start the bus: it says what can be done"}}
	case err != nil:
		return []diagnosis{{problem, "ledger", store + ": " + plainPath(err).Error(), "run doctor as the user that the bus runs as"}}
	case !ok:
		return []diagnosis{{remark, "ledger", store + " has none: no bus has kept it yet", ""}}
	}
	messages := uint64(0)
	for _, s := range page.Streams {
		messages += s.Messages()
	}
	how := "not stopped in order"
	if page.Clean {
		how = "stopped in order"
	}
	out := []diagnosis{{fine, "ledger", fmt.Sprintf("%s: %s with %s, written %s, %s", page.ID(), count(len(page.Streams), "stream"),
		count(int(messages), "message"), page.Written.Local().Format("2006-01-02 15:04:05"), how), ""}}
	for _, path := range book.Damaged {
		out = append(out, diagnosis{problem, "ledger", path + " cannot be read; the other one of the two can", "none is needed: the bus writes it anew; a disk that damages files needs a look"})
	}
	return out
}

// onFiles reads all of a store that no bus has open.
func onFiles(ctx context.Context, cfg *config.Config, store string) (out []diagnosis) {
	if _, err := os.Stat(store); err != nil {
		return nil
	}
	found, bytes, err := server.Examine(ctx, cfg, store)
	switch {
	case errors.Is(err, server.ErrInUse):
		return []diagnosis{{remark, "files", "a bus has the store open: its files were not looked at", "deltran-bus doctor --monitor HOST:PORT, with the address of that bus"}}
	case err != nil:
		return []diagnosis{{problem, "files", plainPath(err).Error(), ""}}
	case len(found) == 0:
		return []diagnosis{{fine, "files", humanize.IBytes(uint64(bytes)) + " of messages were read, and what belongs to them; nothing is damaged", ""}}
	}
	for _, f := range found {
		out = append(out, diagnosis{problem, string(f.Kind), f.String(), f.WayOut})
	}
	return out
}

// onBus tells what a running bus, or one that holds, says of itself.
func onBus(r monitor.Readiness) (out []diagnosis) {
	if r.Refusing != "" {
		out = append(out, diagnosis{problem, "space", "publishing is refused: " + r.Refusing, ""})
	} else if r.Ready {
		out = append(out, diagnosis{fine, "bus", "ready since " + r.Since.Local().Format("2006-01-02 15:04:05"), ""})
	} else if r.Phase != server.Holding {
		out = append(out, diagnosis{problem, "bus", "not ready: " + r.Error, "the log of the bus says more"})
	} else {
		out = append(out, diagnosis{problem, "bus", "holds: nobody is let in until somebody has decided about what follows", ""})
	}
	if len(r.Missing) > 0 {
		out = append(out, diagnosis{problem, "layout", "missing: " + strings.Join(r.Missing, ", "), "deltran-bus apply"})
	}
	if n := len(r.Held); n > 0 {
		out = append(out, diagnosis{remark, "layout", count(n, "change") + " held back", "deltran-bus plan"})
	}
	for _, f := range r.Findings {
		l := problem
		if f.Kind == ledger.Ledger && !f.Holds {
			l = remark
		}
		out = append(out, diagnosis{l, string(f.Kind), f.String(), f.WayOut})
	}
	return out
}

// onParked finds streams that a restore has taken their subjects from. A bus that is not ready has none to show.
func onParked(ctx context.Context, cfg *config.Config) (out []diagnosis) {
	var jsz natsserver.JSInfo
	res, body, err := askMonitor(ctx, cfg, "/jsz?streams=true&config=true")
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(body, &jsz) != nil {
		return nil
	}
	for _, name := range parked(&jsz) {
		out = append(out, diagnosis{problem, "restore", "stream " + name + " " + takesNone + ", or was to do so when it was killed",
			"wait for it, or give that restore the same words again; without it, the bus gives the stream its subjects back when it starts, unless it is a node of a cluster"})
	}
	return out
}

// askReady asks a bus on this machine how it is; ready or not, that is no error.
func askReady(ctx context.Context, cfg *config.Config) (r monitor.Readiness, err error) {
	_, body, err := askMonitor(ctx, cfg, "/readyz")
	if err == nil && (json.Unmarshal(body, &r) != nil || r.Phase == "") {
		err = errors.New("somebody else answers at " + cfg.Monitor.Listen)
	}
	return r, err
}
