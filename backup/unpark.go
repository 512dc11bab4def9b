package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Unpark gives the streams their subjects back that a restore was going to replace when it was killed, and returns their names.
// It is for a moment in which no restore can be under way, such as the start of a bus that nobody can have connected to.
func Unpark(ctx context.Context, nc *nats.Conn) (names []string, err error) {
	c := newClient(nc, 0)
	all, err := c.streams(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, info := range all {
		cfg, err := parseConfig(info.Config)
		if err != nil {
			return names, err
		}
		if cfg.noted(notedParked) == "" {
			continue
		}
		name := cfg.text("name")
		if err := c.ask(ctx, "STREAM.UPDATE."+name, cfg.unparked(), nil); err != nil {
			errs = append(errs, fmt.Errorf("stream %s: giving its subjects back: %w", name, err))
			continue
		}
		names = append(names, name)
	}
	return names, errors.Join(errs...)
}

// Parked reports whether a stream with that metadata takes no publishes, because a restore is replacing it, or was going to
// when it was killed.
func Parked(metadata map[string]string) bool { return metadata[notedParked] != "" }
