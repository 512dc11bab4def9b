// Command interop holds the specification's examples against the built binary, with the clients that services and
// operators really use: nats.go in both of its APIs, nats.js, the C client, natscli and curl. Every client meets a bus
// of its own, on an empty store.
//
// It needs node and npm, gcc and libnats-dev, and curl; a client that cannot be built is a failed check, never a skipped
// one. Only the example in Rust is not run where cargo cannot be reached, and that is said.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/report"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
)

// A session is what one client works with.
type session struct {
	*busproc.Bus
	binary string // the bus's
	dir    string // the client's own folder, empty
	bin    string // where built programs go
	*report.Report
	who string
}

func (s *session) check(what string, err error) bool { return s.Check(s.who, what, err) }

var clients = []struct {
	name string
	run  func(context.Context, *session) error // an error is a failed check of its own
}{
	{"nats.go", jetstreamAPI},
	{"legacy", legacyAPI},
	{"nats.js", javascript},
	{"c", c},
	{"natscli", natscli},
	{"curl", curl},
	{"logins", logins},
	{"examples", examples},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bus := flag.String("bus", "", "the `binary` to look at; without it, one is built from the working tree")
	bin := flag.String("bin", "bin", "`folder` for the programs that are built")
	only := flag.String("only", "", "comma separated `clients`; without it, all")
	flag.Parse()
	if err := run(ctx, *bus, *bin, *only); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bus, bin, only string) (err error) {
	if bus == "" {
		if bus, err = tools.Bus(ctx, bin); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "deltran-bus-interop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	r := report.New(os.Stdout)
	for _, c := range clients {
		if only != "" && !slices.Contains(strings.Split(only, ","), c.name) {
			continue
		}
		if err := meet(ctx, bus, bin, dir, c.name, c.run, r); err != nil {
			r.Check(c.name, "ran to its end", err)
		}
	}
	return r.Close()
}

func meet(ctx context.Context, bus, bin, dir, name string, client func(context.Context, *session) error, r *report.Report) error {
	own, err := os.MkdirTemp(dir, "")
	if err != nil {
		return err
	}
	b, err := busproc.Start(ctx, bus, "--store-dir", own+"-store")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*busproc.Patience)
	defer cancel()
	err = client(ctx, &session{Bus: b, binary: bus, dir: own, bin: bin, Report: r, who: name})
	return errors.Join(err, b.Stop())
}

// program runs a client that prints a line per check, "ok what" or "FAIL what: why", and counts them. One that ends with
// an error without saying which check failed, or without any check, is an error.
func (s *session) program(cmd *exec.Cmd) error {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	checks, failed := 0, 0
	for line := range strings.Lines(stdout.String()) {
		line = strings.TrimSpace(line)
		if what, ok := strings.CutPrefix(line, "ok "); ok {
			s.check(what, nil)
		} else if rest, ok := strings.CutPrefix(line, "FAIL "); ok {
			what, why, _ := strings.Cut(rest, ": ")
			s.check(what, errors.New(why))
			failed++
		} else {
			return fmt.Errorf("not a check: %q", line)
		}
		checks++
	}
	switch {
	case checks == 0:
		return fmt.Errorf("no check was made (%v):\n%s", err, &stderr)
	case err != nil && failed == 0:
		return fmt.Errorf("%w:\n%s", err, &stderr)
	}
	return nil
}

// do runs a command to its end and returns what it printed on stdout.
func do(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%v: %w:\n%s%s", cmd.Args, err, &stdout, &stderr)
	}
	return stdout.String(), nil
}
