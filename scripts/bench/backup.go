package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
	"github.com/nats-io/nats.go/jetstream"
)

// A tool is a way to back a stream up and to restore it.
type tool struct {
	name, binary    string
	backup, restore func(ctx context.Context, url, to string) *exec.Cmd
	made            map[string]series
}

const (
	takingIt       = "backup"
	restoringLazy  = "restore, sync 2m"
	restoringEvery = "restore, sync always"
)

// backups measures a whole run of deltran-bus backup, and of natscli's, of the same stream of the same stock nats-server,
// and of their restores onto another: messages a second, from exec to exit. deltran-bus compares every message with what
// was counted, and in a restore with what was backed up.
func backups(ctx context.Context, flags *flag.FlagSet, args []string) error {
	rounds := flags.Int("rounds", 7, "how often everything is measured")
	bus := flags.String("bus", "", "the `binary` to measure; without it, one is built from the working tree")
	bin := flags.String("bin", "bin", "`folder` for the programs that are built")
	dir := flags.String("dir", os.TempDir(), "`folder` on the disk to measure on")
	messages := flags.Int("messages", 300_000, "in the stream")
	few := flags.Int("synced", 10_000, "in the stream that is restored with sync always, where natscli waits for the disk after each")
	require := flags.Float64("require", 0, "fail unless a backup makes at least this many `times` the messages a second of natscli's")
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
	cases := []backupCase{{takingIt, "2m", *messages}, {restoringLazy, "2m", *messages}, {restoringEvery, "always", *few}}
	for _, c := range cases {
		fmt.Fprintln(os.Stderr, c.name)
		if err := c.measure(ctx, both, stock, work, *rounds); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	ours, theirs := both[0], both[1]
	t := table{
		title: "Backup of one stream and its restore, messages a second",
		head:  []string{"", theirs.name, ours.name, "ratio"},
		notes: []string{fmt.Sprintf("Medians of %d rounds, alternating, and where four of five lie; events of some 300 bytes, %s of them, with sync always %s. %s.\n%s",
			*rounds, figure(float64(*messages)), figure(float64(*few)), tools.NATSCLI, thisMachine())},
	}
	for _, name := range []string{takingIt, restoringLazy, restoringEvery} {
		t.rows = append(t.rows, []string{name, theirs.made[name].String(), ours.made[name].String(), ours.made[name].over(theirs.made[name]).String()})
	}
	switch {
	case *asJSON:
		err = writeJSON(os.Stdout, map[string]any{"bench": "backup", "machine": thisMachine(), "natscli": tools.NATSCLI, "results": map[string]any{ours.name: ours.made, theirs.name: theirs.made}})
	case *markdown:
		t.markdown(os.Stdout)
	default:
		t.text(os.Stdout)
	}
	if ratio := ours.made[takingIt].over(theirs.made[takingIt]).median(); ratio < *require {
		err = errors.Join(err, fmt.Errorf("a backup makes %.2f times the messages a second of natscli's, required are %g", ratio, *require))
	}
	return err
}

func backupTools(ctx context.Context, bus, bin, work string) (both []*tool, stock string, err error) {
	if bus == "" {
		if bus, err = tools.Bus(ctx, bin); err != nil {
			return nil, "", err
		}
	}
	cli, err := tools.CLI(ctx, bin)
	if err != nil {
		return nil, "", err
	}
	if stock, err = tools.NATSServer(ctx, bin); err != nil {
		return nil, "", err
	}
	nats := func(ctx context.Context, url string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, cli, args...)
		cmd.Env = append(os.Environ(), "HOME="+work, "XDG_CONFIG_HOME="+work, "NATS_URL="+url, "NATS_CONTEXT=")
		return cmd
	}
	return []*tool{
		{"deltran-bus", bus, func(ctx context.Context, url, to string) *exec.Cmd {
			return exec.CommandContext(ctx, bus, "backup", "create", stream, to+".tar.gz", "--server", url)
		}, func(ctx context.Context, url, from string) *exec.Cmd {
			return exec.CommandContext(ctx, bus, "backup", "restore", from+".tar.gz", "--server", url, "--tmp", work)
		}, map[string]series{}},
		{"natscli", cli, func(ctx context.Context, url, to string) *exec.Cmd {
			return nats(ctx, url, "backup", "stream", stream, to, "--no-progress")
		}, func(ctx context.Context, url, from string) *exec.Cmd {
			return nats(ctx, url, "backup", "restore", "stream", from, "--no-progress", "--timeout", "1m")
		}, map[string]series{}},
	}, stock, nil
}

// backupCase is one row: a stream of so many messages.
type backupCase struct {
	name, sync string
	messages   int
}

func (c backupCase) measure(ctx context.Context, both []*tool, stock, work string, rounds int) (err error) {
	dir, err := os.MkdirTemp(work, "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	start := func(sync string) (*launched, error) {
		return (&contestant{server: natsServer(stock, dir, sync)}).start(ctx, filepath.Join(dir, "store-"+sync))
	}
	from, err := start("2m")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.stop()) }()
	if err := fillTransactions(ctx, from.url, c.messages); err != nil {
		return err
	}
	to := from
	if c.name != takingIt {
		for _, t := range both {
			if err := quietly(t.backup(ctx, from.url, filepath.Join(dir, t.name))); err != nil {
				return err
			}
		}
		if c.sync != "2m" {
			if to, err = start(c.sync); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, to.stop()) }()
		}
	}
	for round := range rounds {
		for i := range both {
			t := both[(round+i)%len(both)]
			cmd := t.backup(ctx, from.url, filepath.Join(dir, fmt.Sprintf("%s-%d", t.name, round)))
			if c.name != takingIt {
				if err := removeStream(ctx, to.url); err != nil {
					return err
				}
				cmd = t.restore(ctx, to.url, filepath.Join(dir, t.name))
			}
			begun := time.Now()
			if err := quietly(cmd); err != nil {
				return err
			}
			t.made[c.name] = append(t.made[c.name], float64(c.messages)/time.Since(begun).Seconds())
			err := busproc.WithJetStream(to.url, func(js jetstream.JetStream) error { return holds(ctx, js, c.messages) })
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return nil
}

func quietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w:\n%s", cmd.Args, err, out)
	}
	return nil
}

// fillTransactions makes a stream of events as they are: much of one is in the next as well.
func fillTransactions(ctx context.Context, url string, n int) error {
	return busproc.WithJetStream(url, func(js jetstream.JetStream) error {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{"events.transactions.>"}}); err != nil {
			return err
		}
		r := rand.New(rand.NewPCG(1, 2))
		var last jetstream.PubAckFuture
		var err error
		for i := range n {
			event := fmt.Appendf(nil, `{"event_id":"%08x-%04x-%04x","event_type":"transaction.created","timestamp":"2026-11-23T18:%02d:%02d.%06dZ","data":{"amount":"%d.%02d","currency":"EUR","debtor":"DE%018d","creditor":"FR%018d","reference":"invoice %d"}}`,
				r.Uint32(), r.IntN(65536), r.IntN(65536), r.IntN(60), r.IntN(60), r.IntN(1e6), r.IntN(100000), r.IntN(100), r.Int64N(1e18), r.Int64N(1e18), i)
			if last, err = js.PublishAsync(subject, event, jetstream.WithStallWait(time.Minute)); err != nil {
				return err
			}
		}
		select {
		case <-js.PublishAsyncComplete():
			<-last.Ok()
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

func removeStream(ctx context.Context, url string) error {
	return busproc.WithJetStream(url, func(js jetstream.JetStream) error {
		err := js.DeleteStream(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		return err
	})
}
