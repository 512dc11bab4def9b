package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/ledger"
	"github.com/urfave/cli/v2"
)

func acceptFlags() []cli.Flag {
	return []cli.Flag{
		configFlag,
		&cli.StringFlag{Name: "store-dir", Usage: "`DIR` of the store"},
		&cli.StringFlag{Name: "ledger", Usage: "the `ID` that the bus names where it says what is lost"},
		&cli.BoolFlag{Name: "clock", Usage: "the machine's clock is right, although the ledger knows another time"},
	}
}

// acceptLoss leaves word that the bus shall go on without what a stream has lost. It works with the bus stopped, and
// with a bus that holds.
func acceptLoss(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	streams := c.Args().Slice()
	for _, s := range streams {
		if strings.HasPrefix(s, "-") {
			return misuse("%s stands behind a stream; write the flags first", s)
		}
	}
	if len(streams) == 0 && !c.Bool("clock") {
		return misuse("accept-loss names no stream: deltran-bus accept-loss --ledger ID STREAM…")
	}
	store, err := filepath.Abs(cfg.StoreDir())
	if err != nil {
		return err
	}
	book, page, ok, err := ledger.Open(store)
	switch {
	case errors.Is(err, ledger.ErrDamaged):
		return fmt.Errorf("store %s: %w", store, err)
	case err != nil:
		return fmt.Errorf("store %s: %w", store, plainPath(err))
	case !ok:
		return fmt.Errorf("store %s: has no ledger, so nothing can be missing from it; --store-dir or -c names another store", store)
	}
	id := page.ID()
	if want := c.String("ledger"); want == "" {
		return misuse("--ledger is missing; the bus names the ID where it says what is lost")
	} else if want != id {
		return fmt.Errorf("store %s: its ledger is %s, not %s: it has been written since; start the bus again and see what it says now", store, id, want)
	}
	for _, name := range streams {
		if _, known := page.Stream(name); !known {
			return fmt.Errorf("store %s: its ledger knows no stream %s; it has %s", store, name, strings.Join(names(page), ", "))
		}
	}
	if err := book.Accept(ledger.Accepted{Page: id, Streams: streams, Clock: c.Bool("clock"), At: time.Now().UTC().Truncate(time.Second)}); err != nil {
		return fmt.Errorf("store %s: %w", store, err)
	}
	what := streams
	if c.Bool("clock") {
		what = append(slices.Clone(what), "the clock")
	}
	fmt.Fprintf(c.App.Writer, "accepted: %s; a bus that holds goes on now, one that is stopped with its next start\n", strings.Join(what, ", "))
	return nil
}

func names(p ledger.Page) (out []string) {
	for _, s := range p.Streams {
		out = append(out, s.Name)
	}
	return out
}
