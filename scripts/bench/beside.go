package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
	"github.com/nats-io/nats.go/jetstream"
)

// besides is one row: a publisher, and what goes on beside it.
type besides struct {
	name   string
	url    string                                              // of the server that it publishes to
	backup func(ctx context.Context, url, to string) *exec.Cmd // is run again and again; nil: nobody does, or the server by itself
	alone  *besides                                            // the same without backups; nil: it is that
	rate   series                                              // messages a second
	tail   series                                              // of a publish, the 99th percentile, in milliseconds
}

// beside measures one publisher with one message in flight while a stream beside its own is backed up without a pause: by
// natscli, by deltran-bus, and by the schedule of the bus that it publishes to; and the same while nobody does.
func beside(ctx context.Context, flags *flag.FlagSet, args []string) (err error) {
	rounds := flags.Int("rounds", 9, "how often everything is measured")
	bus := flags.String("bus", "", "the `binary` to measure; without it, one is built from the working tree")
	bin := flags.String("bin", "bin", "`folder` for the programs that are built")
	dir := flags.String("dir", os.TempDir(), "`folder` on the disk to measure on")
	messages := flags.Int("messages", 300_000, "in the stream that is backed up")
	rates := flags.String("rates", "0", "`RATE`s of backup create to measure as well, with commas between them; 0 leaves publishers no time")
	require := flags.Float64("require", 0, "fail unless a publisher makes at least this `part` of what it makes alone, beside backup create and beside the schedule")
	asJSON := flags.Bool("json", false, "print JSON, with every sample")
	markdown := flags.Bool("markdown", false, "print a Markdown table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	work, err := os.MkdirTemp(*dir, "deltran-bus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	both, stock, err := backupTools(ctx, *bus, *bin, work)
	if err != nil {
		return err
	}
	ours, theirs := both[0], both[1]
	urls := map[string]string{}
	for name, server := range map[string]func(addr, store string) (*exec.Cmd, error){
		"stock": natsServer(stock, work, "2m"), "bus": backedUp(ours.binary, work, "0s"), "scheduled": backedUp(ours.binary, work, "1s"),
	} {
		fmt.Fprintln(os.Stderr, "filling", name)
		l, lerr := (&contestant{server: server}).start(ctx, filepath.Join(work, name))
		if lerr != nil {
			return lerr
		}
		defer func() { err = errors.Join(err, l.stop()) }()
		if err := fillTransactions(ctx, l.url, *messages); err != nil {
			return err
		}
		urls[name] = l.url
	}
	alone, bare := &besides{name: "nats-server: nobody"}, &besides{name: "deltran-bus: nobody"}
	mine := &besides{name: "deltran-bus backup create", alone: alone, backup: ours.backup}
	schedule := &besides{name: "deltran-bus: its own schedule", alone: bare}
	rows := []*besides{alone, {name: theirs.name, alone: alone, backup: theirs.backup}, mine}
	for _, rate := range strings.Split(*rates, ",") {
		rows = append(rows, &besides{name: mine.name + " --rate " + rate, alone: alone, backup: func(ctx context.Context, url, to string) *exec.Cmd {
			cmd := ours.backup(ctx, url, to)
			cmd.Args = append(cmd.Args, "--rate", rate)
			return cmd
		}})
	}
	for _, r := range rows {
		r.url = urls["stock"]
	}
	bare.url, schedule.url = urls["bus"], urls["scheduled"]
	rows = append(rows, bare, schedule)

	for round := range *rounds {
		fmt.Fprintln(os.Stderr, "round", round+1)
		for i := range rows {
			if err := rows[(round+i)%len(rows)].measure(ctx, work); err != nil {
				return fmt.Errorf("%s: %w", rows[(round+i)%len(rows)].name, err)
			}
		}
	}
	t := table{
		title: "One publisher, one message in flight, while another stream is backed up without a pause",
		head:  []string{"backed up by", "messages a second", "of those alone", "99 % within, ms"},
		notes: []string{fmt.Sprintf("Medians of %d rounds, alternating, and where four of five lie; the stream that is backed up holds %s events of some 300 bytes; sync 2m. %s.\n%s",
			*rounds, figure(float64(*messages)), tools.NATSCLI, thisMachine())},
	}
	for _, r := range rows {
		of := ""
		if r.alone != nil {
			of = r.rate.over(r.alone.rate).String()
		}
		t.rows = append(t.rows, []string{r.name, r.rate.String(), of, r.tail.String()})
	}
	switch {
	case *asJSON:
		results := map[string]any{}
		for _, r := range rows {
			results[r.name] = map[string]series{"messages_per_second": r.rate, "p99_ms": r.tail}
		}
		err = writeJSON(os.Stdout, map[string]any{"bench": "beside", "machine": thisMachine(), "natscli": tools.NATSCLI, "results": results})
	case *markdown:
		t.markdown(os.Stdout)
	default:
		t.text(os.Stdout)
	}
	for _, r := range []*besides{mine, schedule} {
		if part := r.rate.over(r.alone.rate).median(); part < *require {
			err = errors.Join(err, fmt.Errorf("beside %s a publisher makes %.2f of what it makes alone, required are %g", r.name, part, *require))
		}
	}
	return err
}

// backedUp is a bus with no streams of its own that backs itself up every so often.
func backedUp(binary, work, every string) func(addr, store string) (*exec.Cmd, error) {
	return func(addr, store string) (*exec.Cmd, error) {
		file := store + ".toml"
		text := fmt.Sprintf(`
			bus.default_streams = false
			nats.jetstream.sync_interval = "2m"
			nats.jetstream.max_file_store = %q
			backup = { every = %q, dir = %q, keep = 2 }
		`, roomy, every, store+"-archives")
		return exec.Command(binary, "serve", "--config", file, "--listen", addr, "--monitor", "127.0.0.1:0", "--store-dir", store), os.WriteFile(file, []byte(text), 0o600)
	}
}

// measure takes one sample: two seconds of publishing, from when the first backup begins beside somebody who publishes already.
func (b *besides) measure(ctx context.Context, work string) error {
	dir, err := os.MkdirTemp(work, "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	during, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	backups := func() {
		var err error
		for n := 0; b.backup != nil && during.Err() == nil && err == nil; n++ {
			cmd := b.backup(during, b.url, filepath.Join(dir, fmt.Sprint(n)))
			if err = quietly(cmd); during.Err() != nil {
				err = nil // it was ended
			}
		}
		ended <- err
	}
	took, err := publishBeside(ctx, b.url, func() { go backups() })
	if err != nil {
		return err
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	total := 0.0
	for _, t := range took {
		total += t
	}
	slices.Sort(took)
	b.rate = append(b.rate, float64(len(took))/total)
	b.tail = append(b.tail, 1000*took[len(took)*99/100])
	return nil
}

// publishBeside publishes to a stream of its own, and calls begin after half a second; of the two seconds that follow it returns
// how long each took to be acknowledged, in seconds.
func publishBeside(ctx context.Context, url string, begin func()) (took []float64, err error) {
	err = busproc.WithJetStream(url, func(js jetstream.JetStream) error {
		if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "RISK", Subjects: []string{"events.risk.>"}, MaxMsgs: 10_000}); err != nil {
			return err
		}
		publish := func(d time.Duration) (took []float64, err error) {
			for begun := time.Now(); time.Since(begun) < d; {
				at := time.Now()
				if _, err := js.Publish(ctx, "events.risk.limit", make([]byte, 300)); err != nil {
					return nil, err
				}
				took = append(took, time.Since(at).Seconds())
			}
			return took, nil
		}
		if _, err := publish(time.Second / 2); err != nil {
			return err
		}
		begin()
		took, err = publish(2 * time.Second)
		return err
	})
	return took, err
}
