package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/nats-io/nats.go/jetstream"
)

// A layout is the streams and consumers that a bus declares. It is read from the running binary, so that everything that
// is compared with it makes the same ones.
type layout struct {
	streams   []jetstream.StreamConfig
	consumers []consumer
}

type consumer struct {
	stream string
	config jetstream.ConsumerConfig
}

// readLayout asks a running server for what stands on it.
func readLayout(ctx context.Context, url string) (*layout, error) {
	l := &layout{}
	return l, busproc.WithJetStream(url, func(js jetstream.JetStream) error {
		streams := js.ListStreams(ctx)
		for s := range streams.Info() {
			maps.DeleteFunc(s.Config.Metadata, fromServer)
			l.streams = append(l.streams, s.Config)
		}
		for _, cfg := range l.streams {
			s, err := js.Stream(ctx, cfg.Name)
			if err != nil {
				return err
			}
			consumers := s.ListConsumers(ctx)
			for c := range consumers.Info() {
				maps.DeleteFunc(c.Config.Metadata, fromServer)
				l.consumers = append(l.consumers, consumer{cfg.Name, c.Config})
			}
			if err := consumers.Err(); err != nil {
				return err
			}
		}
		return streams.Err()
	})
}

// fromServer says whether a metadata entry is the server's own remark.
func fromServer(key, _ string) bool { return strings.HasPrefix(key, "_nats.") }

// standing is an error unless exactly the layout's streams and consumers stand at url.
func (l *layout) standing(ctx context.Context, url string) error {
	found, err := readLayout(ctx, url)
	if err != nil {
		return err
	}
	if len(found.streams) != len(l.streams) || len(found.consumers) != len(l.consumers) {
		return fmt.Errorf("%d streams and %d consumers stand, want %d and %d",
			len(found.streams), len(found.consumers), len(l.streams), len(l.consumers))
	}
	return nil
}

// commands writes the configurations to dir and returns the arguments of the natscli commands that make the layout: what
// a setup script runs, one after another.
func (l *layout) commands(dir string) ([][]string, error) {
	var commands [][]string
	add := func(config any, args ...string) error {
		text, err := json.Marshal(config)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, args[len(args)-1]+".json")
		commands = append(commands, append(args, "--config", file))
		return os.WriteFile(file, text, 0o600)
	}
	for _, s := range l.streams {
		if err := add(s, "stream", "add", s.Name); err != nil {
			return nil, err
		}
	}
	for _, c := range l.consumers {
		if err := add(c.config, "consumer", "add", c.stream, c.config.Durable); err != nil {
			return nil, err
		}
	}
	return commands, nil
}

// create makes the layout from one client, the streams at once: the fastest that a script against the API can be.
func (l *layout) create(ctx context.Context, url string) error {
	return busproc.WithJetStream(url, func(js jetstream.JetStream) error {
		err := each(l.streams, func(s jetstream.StreamConfig) error {
			_, err := js.CreateStream(ctx, s)
			return err
		})
		if err != nil {
			return err
		}
		return each(l.consumers, func(c consumer) error {
			_, err := js.CreateConsumer(ctx, c.stream, c.config)
			return err
		})
	})
}

// each calls do for all of them at once and returns the first error.
func each[T any](all []T, do func(T) error) error {
	errs := make(chan error, len(all))
	var wg sync.WaitGroup
	for _, one := range all {
		wg.Go(func() {
			if err := do(one); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
