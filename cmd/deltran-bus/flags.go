package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/deltran/deltran-bus/config"
	"github.com/urfave/cli/v2"
)

var (
	jsonFlag   = &cli.BoolFlag{Name: "json", Usage: "answer in JSON"}
	configFlag = &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "lay `FILE` over the built-in configuration; - is stdin"}
)

func configFlags() []cli.Flag {
	return []cli.Flag{
		configFlag,
		&cli.StringFlag{Name: "listen", Usage: "client `HOST:PORT`; port 0 picks one"},
		&cli.StringFlag{Name: "monitor", Usage: "monitoring `HOST:PORT`; port 0 picks one"},
		&cli.StringFlag{Name: "store-dir", Usage: "`DIR` of the store"},
		&cli.StringFlag{Name: "sync", Usage: "always, or a `DURATION` between syncs of the disk"},
	}
}

// keys are the flags that are one key of the declaration.
var keys = map[string]string{
	"listen":    "nats.listen",
	"monitor":   "monitor.listen",
	"store-dir": "nats.jetstream.store_dir",
	"sync":      "nats.jetstream.sync_interval",
}

// setting is what a flag says, at whatever place of the command line, or else the environment; origin names which.
func setting(c *cli.Context, flag string) (value, origin string) {
	for _, at := range c.Lineage() {
		for _, name := range at.LocalFlagNames() {
			if name == flag {
				return at.String(flag), "--" + flag
			}
		}
	}
	env := "DELTRAN_BUS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	if v := os.Getenv(env); v != "" {
		return v, env
	}
	return "", ""
}

// sources are the layers of the declaration: file, environment, flags.
func sources(c *cli.Context) (out []config.Source, err error) {
	if name, origin := setting(c, "config"); origin != "" {
		if name == "" {
			return nil, misuse("%s names no file; leave it out to run on what is built in", origin)
		}
		text, err := read(c, name)
		if err != nil {
			return nil, err
		}
		out = append(out, config.File(shown(name), text))
	}
	for _, flag := range []string{"listen", "monitor", "store-dir", "sync"} {
		if v, origin := setting(c, flag); origin != "" {
			out = append(out, config.Set(origin, keys[flag], v))
		}
	}
	return out, nil
}

func shown(file string) string {
	if file == "-" {
		return "stdin"
	}
	return file
}

func read(c *cli.Context, name string) (string, error) {
	b, err := unless(c.Context, func() ([]byte, error) {
		if name == "-" {
			return io.ReadAll(c.App.Reader)
		}
		return os.ReadFile(name)
	})
	if c.Context.Err() != nil {
		return "", c.Context.Err()
	}
	if err != nil {
		return "", config.Problems{{File: shown(name), Message: "cannot be read: " + plainPath(err).Error()}}
	}
	if name == "-" {
		c.App.Reader = bytes.NewReader(b) // a reload reads it again
	}
	return string(b), nil
}

// unless runs f, and waits for it until ctx ends: nothing else ends a read that never comes.
func unless[T any](ctx context.Context, f func() (T, error)) (result T, err error) {
	done := make(chan struct{})
	var v T
	var verr error
	go func() { defer close(done); v, verr = f() }()
	select {
	case <-done:
		return v, verr
	case <-ctx.Done():
		return result, ctx.Err()
	}
}

// plainPath leaves the path out of a file's error: the message around it has it.
func plainPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
