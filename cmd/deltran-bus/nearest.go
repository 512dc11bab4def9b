package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/xrash/smetrics"
)

// captured refuses a subject that no stream takes. Who may not ask is not refused: the publish itself will tell.
func captured(ctx context.Context, r *remote, subject string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer r.nc.SetErrorHandler(r.nc.ErrorHandler())
	r.nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			cancel() // there will be no answer
		}
	})
	_, err := r.js.StreamNameBySubject(ctx, subject)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return noJetStream(err)
	}
	var subjects []string
	list := r.js.ListStreams(ctx)
	for s := range list.Info() {
		subjects = append(subjects, s.Config.Subjects...)
	}
	hint := ""
	if s := nearestSubject(subject, subjects); s != "" {
		hint = fmt.Sprintf("; the nearest is %q", s)
	}
	return fmt.Errorf("no stream takes %q%s", subject, hint)
}

// nearestSubject is the subject that one of the patterns takes and that is most like what was written, if one is at all.
func nearestSubject(written string, patterns []string) string {
	best, distance := "", len(written)/2+1
	for _, pattern := range patterns {
		s := filled(pattern, strings.Split(written, "."))
		if d := smetrics.WagnerFischer(written, s, 1, 1, 1); d < distance {
			best, distance = s, d
		}
	}
	return best
}

// filled is a pattern with the tokens of a subject in place of its wildcards.
func filled(pattern string, tokens []string) string {
	var out []string
	for i, t := range strings.Split(pattern, ".") {
		switch {
		case t == ">" && i < len(tokens):
			out = append(out, tokens[i:]...)
		case t == "*" && i < len(tokens) && tokens[i] != "":
			out = append(out, tokens[i])
		default:
			out = append(out, t)
		}
	}
	return strings.Join(out, ".")
}
