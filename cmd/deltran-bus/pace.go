package main

import (
	"context"
	"time"
)

// pace lets something happen so many times a second.
type pace struct{ tick *time.Ticker }

// newPace with a rate of 0 does not hold anything up.
func newPace(rate float64) pace {
	if rate <= 0 {
		return pace{}
	}
	return pace{time.NewTicker(max(time.Duration(float64(time.Second)/rate), 1))}
}

func (p pace) wait(ctx context.Context) error {
	if p.tick == nil {
		return ctx.Err()
	}
	select {
	case <-p.tick.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p pace) stop() {
	if p.tick != nil {
		p.tick.Stop()
	}
}
