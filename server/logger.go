package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/deltran/deltran-bus/config"
)

// LevelTrace is nats-server's trace: every protocol line.
const LevelTrace = slog.LevelDebug - 4

// logger hands nats-server's lines to slog, without secrets, and keeps the first Fatalf, which nats-server uses in
// place of an error.
type logger struct {
	log      *slog.Logger
	starting func() bool // what it notices on its way up and down is said better by the banner: then debug
	broke    func(error) // is told what it could not write
	refusing func() bool // whether it is we who have it refuse publishes: it says so every ten seconds, we once
	fatal    atomic.Pointer[string]
	refused  func(Refusal) // may be nil

	mu      sync.RWMutex
	secrets []string
	last    string // warning
}

func (l *logger) Noticef(f string, a ...any) {
	if l.starting() {
		l.line(slog.LevelDebug, f, a)
	} else {
		l.line(slog.LevelInfo, f, a)
	}
}
func (l *logger) Warnf(f string, a ...any) {
	if f == "Plaintext passwords detected, use nkeys or bcrypt" { // what is declared is a reference
		return
	}
	if l.starting() && l.repeats(fmt.Sprintf(f, a...)) { // of a store that it cannot read, one for each stream
		l.line(slog.LevelDebug, f, a)
	} else {
		l.line(slog.LevelWarn, f, a)
	}
}
func (l *logger) Errorf(f string, a ...any) {
	if err, ok := writeError(f, a); ok {
		l.broke(err)
	}
	if l.refused != nil {
		if r, ok := readRefusal(f, a); ok {
			r.User, r.Subject = l.redact(r.User), l.redact(r.Subject)
			l.refused(r)
		}
	}
	if strings.HasSuffix(f, "resource limits exceeded for server") && l.refusing() {
		l.line(slog.LevelDebug, f, a)
		return
	}
	l.line(slog.LevelError, f, a)
}
func (l *logger) Debugf(f string, a ...any) { l.line(slog.LevelDebug, f, a) }
func (l *logger) Tracef(f string, a ...any) { l.line(LevelTrace, f, a) }
func (l *logger) Fatalf(f string, a ...any) {
	s := l.redact(fmt.Sprintf(f, a...))
	l.fatal.CompareAndSwap(nil, &s)
	if !l.starting() { // nobody asks Err any more
		l.line(slog.LevelError, f, a)
	}
}

func (l *logger) line(level slog.Level, f string, a []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, strings.TrimSpace(l.redact(fmt.Sprintf(f, a...))), "from", "nats-server")
	}
}

// repeats reports whether the last warning said the same.
func (l *logger) repeats(warning string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	same := warning == l.last
	l.last = warning
	return same
}

// Err is what nats-server would have ended the process with.
func (l *logger) Err() error {
	if s := l.fatal.Load(); s != nil {
		return fmt.Errorf("nats-server: %s", *s)
	}
	return nil
}

// hide adds secrets that must not be logged. Those of earlier declarations stay hidden; a reload that brings the same
// again adds nothing.
func (l *logger) hide(secrets []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range secrets {
		if !slices.Contains(l.secrets, s) {
			l.secrets = append(l.secrets, s)
		}
	}
}

func (l *logger) redact(s string) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return config.Redact(s, l.secrets)
}

func (l *logger) redacted(err error) error {
	if s := l.redact(err.Error()); s != err.Error() {
		return errors.New(s)
	}
	return err
}
