package server

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// logger hands nats-server's lines to slog and keeps the first Fatalf, which nats-server uses in place of an error.
type logger struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
}

func (l *logger) Noticef(f string, a ...any) { l.log.Info(fmt.Sprintf(f, a...)) }
func (l *logger) Warnf(f string, a ...any)   { l.log.Warn(fmt.Sprintf(f, a...)) }
func (l *logger) Errorf(f string, a ...any)  { l.log.Error(fmt.Sprintf(f, a...)) }
func (l *logger) Debugf(f string, a ...any)  { l.log.Debug(fmt.Sprintf(f, a...)) }
func (l *logger) Tracef(f string, a ...any)  { l.log.Debug(fmt.Sprintf(f, a...)) }
func (l *logger) Fatalf(f string, a ...any) {
	s := fmt.Sprintf(f, a...)
	l.fatal.CompareAndSwap(nil, &s)
}

func (l *logger) Err() error {
	if s := l.fatal.Load(); s != nil {
		return fmt.Errorf("nats-server: %s", *s)
	}
	return nil
}
