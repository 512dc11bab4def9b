package main

import (
	"fmt"
	"io"

	"github.com/deltran/deltran-bus/config"
	"github.com/urfave/cli/v2"
)

func check(c *cli.Context) error {
	src, err := sources(c)
	if err != nil {
		return err
	}
	cfg, err := config.Check(c.Context, src...)
	if err != nil {
		return err
	}
	consumers := 0
	for _, s := range cfg.Streams {
		consumers += len(s.Consumers)
	}
	fmt.Fprintf(c.App.Writer, "ok: %s, %s\n", count(len(cfg.Streams), "stream"), count(consumers, "consumer"))
	return nil
}

func printConfig(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	return cfg.Write(c.App.Writer)
}

// load is the declaration as this machine need not be the one to run it.
func load(c *cli.Context) (*config.Config, error) {
	src, err := sources(c)
	if err != nil {
		return nil, err
	}
	return config.Load(src...)
}

func writeJSON(w io.Writer, v any) error {
	enc := newEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// count writes "1 stream", "8 streams".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
