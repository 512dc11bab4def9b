package bustest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Fill makes streams full where they are: their quota, max_bytes, becomes what they hold, so that they refuse every
// publish with JetStream's error 10077, as they do in earnest. Without a name it fills all that refuse when they are
// full (discard = "new"). They have room again after release, and after Restart and Crash, which bring the declaration
// back.
//
// The store as a whole (max_memory_store, max_file_store; error 10023) cannot be made full that way. Declare a small one
// and streams without max_bytes in it, and publish until it refuses.
func (b *Bus) Fill(streams ...string) (release func()) {
	b.helper()()
	ctx, cancel := b.patient()
	defer cancel()
	all := len(streams) == 0
	if all {
		for name := range b.js().StreamNames(ctx).Name() {
			streams = append(streams, name)
		}
	}
	var full []jetstream.StreamConfig
	for _, name := range streams {
		i, err := b.streamInfo(ctx, name)
		if err != nil {
			b.fatalf("Fill: stream %s: %v", name, err)
		}
		if i.Config.Discard != jetstream.DiscardNew {
			if all {
				continue
			}
			b.fatalf("Fill: stream %s has discard = \"old\": when it is full it drops its oldest, and refuses nothing", name)
		}
		if err := b.update(ctx, i.Config, func(c *jetstream.StreamConfig) { c.MaxBytes = max(1, int64(i.State.Bytes)) }); err != nil {
			b.fatalf("Fill: %v", err)
		}
		full = append(full, i.Config)
	}
	return sync.OnceFunc(func() {
		b.helper()()
		ctx, cancel := b.patient()
		defer cancel()
		for _, c := range full {
			if err := b.update(ctx, c, func(*jetstream.StreamConfig) {}); err != nil {
				b.fatalf("Fill: release: %v", err)
			}
		}
	})
}

// PassMaxAge lets the max_age of a stream pass: the events in it are deleted, by JetStream's own expiry and so even
// where deny_delete and deny_purge stand, and it returns when they are gone. An event published meanwhile may go too. It takes
// from 0.1 s on, because JetStream takes no max_age below that.
func (b *Bus) PassMaxAge(stream string) {
	b.helper()()
	if err := b.passMaxAge(stream); err != nil {
		b.fatalf("PassMaxAge: stream %s: %v", stream, err)
	}
}

func (b *Bus) passMaxAge(stream string) error {
	const shortest = 100 * time.Millisecond
	ctx, cancel := b.patient()
	defer cancel()
	i, err := b.streamInfo(ctx, stream)
	if err != nil {
		return err
	}
	if i.Config.MaxAge <= 0 {
		return fmt.Errorf("it has no max_age: its events stay")
	}
	if i.State.Msgs == 0 {
		return nil
	}
	short := func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = shortest, min(c.Duplicates, shortest) }
	if err := b.update(ctx, i.Config, short); err != nil {
		return err
	}
	var left uint64
	gone := b.opts.until(func() bool {
		now, e := b.streamInfo(ctx, stream)
		if err = e; err == nil {
			left = now.State.Msgs
		}
		return err == nil && (left == 0 || now.State.FirstSeq > i.State.LastSeq)
	})
	ctx, cancel = b.patient()
	defer cancel()
	if e := b.update(ctx, i.Config, func(*jetstream.StreamConfig) {}); e != nil {
		return e
	}
	if !gone {
		return fmt.Errorf("%d events are left after %s, of those that were there%s", left, b.opts.patience, why(err))
	}
	return nil
}

func (b *Bus) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	s, err := b.js().Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

func (b *Bus) update(ctx context.Context, c jetstream.StreamConfig, change func(*jetstream.StreamConfig)) error {
	change(&c)
	if _, err := b.js().UpdateStream(ctx, c); err != nil {
		return fmt.Errorf("stream %s: %w", c.Name, err)
	}
	return nil
}
