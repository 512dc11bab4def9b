package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stores are what one server left behind after n messages: killed, and stopped in order. They are copied for each start.
type stores struct {
	killed, clean string
	made          time.Time
}

// leave fills a store and leaves it both ways.
func (w *way) leave(ctx context.Context, work string, n int) (*stores, error) {
	dir := filepath.Join(work, "left-by-"+w.name)
	s := &stores{killed: filepath.Join(dir, "killed"), clean: filepath.Join(dir, "clean")}
	if err := os.MkdirAll(s.clean, 0o700); err != nil {
		return nil, err
	}
	if _, err := w.with(ctx, s.clean, "2m", func(_ *instance, nc *nats.Conn) (float64, error) {
		return 0, fill(ctx, nc, n)
	}); err != nil { // with kills it
		return nil, err
	}
	s.made = time.Now()
	if err := copyTree(s.killed, s.clean); err != nil {
		return nil, err
	}
	in, err := w.start(ctx, s.clean, "2m")
	if err != nil {
		return nil, err
	}
	return s, in.process.stop()
}

// restart returns the milliseconds from the start of the process on a copy of that store until a client has been told
// that all n messages are there.
func (w *way) restart(ctx context.Context, work, store string, n int) (float64, error) {
	again := filepath.Join(work, "again")
	defer os.RemoveAll(again)
	if err := copyTree(again, store); err != nil {
		return 0, err
	}
	return w.with(ctx, again, "always", func(in *instance, nc *nats.Conn) (float64, error) {
		js, err := jetstream.New(nc)
		if err != nil {
			return 0, err
		}
		if err := holds(ctx, js, n); err != nil {
			return 0, err
		}
		return inMillis(time.Since(in.process.begun)), nil
	})
}

// copyTree copies a folder, and has it written back before the clock runs.
func copyTree(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return filepath.Walk(to, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
