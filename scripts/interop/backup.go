package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// archives exchanges backups between the bus and natscli, of a stream with gaps and a consumer on its way.
type archives struct {
	cli
	ctx      context.Context
	bus, dir string
	content  string // of the stream, as both have to bring it back
}

const (
	archived = "REPORTING"
	reader   = "reporting-engine-consumer"
)

// backups lets each of the two restore what the other has written.
func (n cli) backups(ctx context.Context, s *session, event string) {
	a := &archives{cli: n, ctx: ctx, bus: s.binary, dir: s.dir}
	if !s.check("a stream to exchange backups of is made", a.make(event)) {
		return
	}
	s.check("backup create writes what nats backup validate finds whole", a.validated())
	s.check("nats backup restore stream brings back what backup create wrote", a.theyRestore())
	s.check("backup restore brings back what nats backup stream wrote", a.weRestore())
	s.check("backup verify and restore take what nats backup account wrote", a.whole())
}

// do runs deltran-bus backup.
func (a *archives) do(args ...string) (string, error) {
	return do(exec.CommandContext(a.ctx, a.bus, append([]string{"backup"}, args...)...))
}

func (a *archives) path(name string) string { return filepath.Join(a.dir, name) }

func (a *archives) make(event string) (err error) {
	for _, args := range [][]string{
		{"pub", "--jetstream", "events.reporting.daily", event, "--count", "20", "-H", "X-Run:{{Count}}"},
		{"stream", "rmm", archived, "7", "--force"},
		{"consumer", "next", archived, reader, "--count", "5", "--ack"},
		{"consumer", "next", archived, reader, "--count", "2", "--no-ack"},
	} {
		if _, err := a.run(args...); err != nil {
			return err
		}
	}
	a.content, err = a.look()
	return err
}

// look is what the stream holds and how far its consumer is.
func (a *archives) look() (string, error) {
	var st struct {
		State struct {
			Messages uint64 `json:"messages"`
			FirstSeq uint64 `json:"first_seq"`
			LastSeq  uint64 `json:"last_seq"`
			First    string `json:"first_ts"`
			Last     string `json:"last_ts"`
		}
	}
	var con struct {
		Delivered, AckFloor struct {
			Consumer uint64 `json:"consumer_seq"`
			Stream   uint64 `json:"stream_seq"`
		}
		AckPending int `json:"num_ack_pending"`
	}
	err := errors.Join(
		a.decode(&st, "stream", "info", archived, "--json"),
		a.decode(&con, "consumer", "info", archived, reader, "--json"))
	out := fmt.Sprintf("%+v %+v", st.State, con)
	for _, seq := range []string{"1", "6", "20"} {
		m, merr := a.run("stream", "get", archived, seq)
		err = errors.Join(err, merr)
		_, headers, _ := strings.Cut(m, "Headers:")
		out += headers
	}
	return out, err
}

func (a *archives) gone() error {
	_, err := a.run("stream", "rm", "--force", archived)
	return err
}

func (a *archives) back() error {
	now, err := a.look()
	if err != nil {
		return err
	}
	return same("content", now, a.content)
}

// validated writes an archive, unpacks it with tar, and has natscli look at it.
func (a *archives) validated() error {
	if _, err := a.do("create", archived, a.path("ours.tar.gz"), "--server", a.url); err != nil {
		return err
	}
	if _, err := do(exec.CommandContext(a.ctx, "tar", "-xzf", a.path("ours.tar.gz"), "-C", a.dir)); err != nil {
		return err
	}
	return a.says([]string{"OK", "1 consumers", "20 messages"}, "backup", "validate", a.path(filepath.Join("streams", archived)), "--no-progress")
}

func (a *archives) theyRestore() error {
	if err := a.gone(); err != nil {
		return err
	}
	if _, err := a.run("backup", "restore", "stream", a.path(filepath.Join("streams", archived)), "--no-progress"); err != nil {
		return err
	}
	return a.back()
}

func (a *archives) weRestore() error {
	if _, err := a.run("backup", "stream", archived, a.path("theirs"), "--no-progress"); err != nil {
		return err
	}
	if err := a.gone(); err != nil {
		return err
	}
	if _, err := a.do("restore", a.path("theirs"), "--server", a.url); err != nil {
		return err
	}
	return a.back()
}

func (a *archives) whole() error {
	if _, err := a.run("backup", "account", a.path("account"), "--force"); err != nil {
		return err
	}
	out, err := a.do("verify", "--deep", a.path("account"))
	if err != nil {
		return err
	}
	if !strings.Contains(out, "8 streams") {
		return fmt.Errorf("no \"8 streams\" in:\n%s", out)
	}
	if err := a.gone(); err != nil {
		return err
	}
	if _, err := a.do("restore", a.path("account"), "--stream", archived, "--server", a.url); err != nil {
		return err
	}
	return a.back()
}
