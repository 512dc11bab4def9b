package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/audit"
	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
)

// lastRecord is how long a stop waits for what is still to be recorded.
const lastRecord = 2 * time.Second

// auditing is what records while the bus runs.
type auditing struct {
	*audit.Recorder
	as     config.Audit
	login  bool               // it is logged in; nats.go would never come back where that has changed
	cancel context.CancelFunc // nil until it runs
	done   chan struct{}
}

// listen begins to hear what is to be recorded, before anybody is let in, if the declaration asks for it.
func (b *bus) listen(cfg *config.Config) {
	if !cfg.Audit.Enabled {
		return
	}
	if !b.recordable(cfg) {
		b.log.Warn("nothing is recorded of what happens to the bus: stream AUDIT is not declared, or does not capture events.audit.*.*; declare it so, or say [audit] enabled = false")
		return
	}
	r, err := audit.Listen(func() (*nats.Conn, func(), error) { return b.srv.ConnectOwn(nats.Name("deltran-bus audit")) }, audit.Options{
		Log: b.log, Repeats: cfg.Audit.Repeats, Look: b.look,
		Keeper: func() (*audit.Keeper, error) { return audit.OpenKeeper(b.srv.State().Storage.Dir) },
	})
	if err != nil {
		b.log.Error("nothing is recorded of what happens to the bus", "error", err)
		return
	}
	b.auditing.Store(&auditing{Recorder: r, as: cfg.Audit, login: b.srv.LoginRequired(), done: make(chan struct{})})
}

func (b *bus) recordable(cfg *config.Config) bool {
	return slices.ContainsFunc(cfg.Streams, func(s config.Stream) bool { return s.Name == audit.Stream && audit.Captured(s.Subjects) })
}

// record has what was heard stored from now on, the start first, while the bus goes on.
func (b *bus) record() {
	a := b.auditing.Load()
	if a == nil || a.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.c.Context))
	a.cancel = cancel
	a.Record(audit.Bus, "started", b.started())
	if why := b.srv.State().Space.Refusing; why != "" { // since before anybody listened
		b.happened(server.Incident{What: server.Refusing, Why: why})
	}
	go func() { defer close(a.done); a.Run(ctx) }()
}

// relisten follows a reload.
func (b *bus) relisten(cfg *config.Config) {
	a := b.auditing.Load()
	want := cfg.Audit.Enabled && b.recordable(cfg)
	if a != nil && (!want || a.as != cfg.Audit) {
		b.stopAuditing("recording-ended", map[string]any{"why": "the configuration says so"})
		a = nil
	}
	if a == nil && cfg.Audit.Enabled {
		b.listen(cfg)
		b.record()
	}
	if now := b.srv.LoginRequired(); a != nil && a.login != now {
		a.login = now
		if err := a.Renew(); err != nil {
			b.log.Warn("the audit trail waits for a connection", "error", err)
		}
	}
}

// stopAuditing records that, and ends it. It does not wait for long.
func (b *bus) stopAuditing(action string, data any) {
	a := b.auditing.Swap(nil)
	switch {
	case a == nil:
	case a.cancel == nil:
		a.Abandon()
	default:
		patience, cancel := context.WithTimeout(context.WithoutCancel(b.c.Context), lastRecord)
		defer cancel()
		a.Close(patience, audit.Bus, action, data)
		a.cancel()
		<-a.done
	}
}

// audited has something recorded, if anything is.
func (b *bus) audited(entity, action string, data any) {
	if a := b.auditing.Load(); a != nil {
		a.Record(entity, action, data)
	}
}

// refused is told by nats-server of what it does not let clients do.
func (b *bus) refused(r server.Refusal) {
	a := b.auditing.Load()
	if a == nil {
		return
	}
	out := audit.Refusal{Entity: audit.Client, Who: audit.Who{User: r.User, Address: r.Address, ID: r.Client}, Reason: r.Reason, Action: r.Action, Subject: r.Subject}
	if r.Action != "" {
		out.Entity = audit.Permission
	}
	a.Refused(out)
}

// happened is told what befell the bus. What keeps AUDIT itself from being written is recorded when it can be.
func (b *bus) happened(i server.Incident) {
	record := struct {
		Why  string `json:"why,omitempty"`
		Took string `json:"took,omitempty"`
	}{Why: i.Why}
	if i.Took > 0 {
		record.Took = i.Took.String()
	}
	b.audited(audit.Bus, i.What, record)
}

// monitorRefused is told by the monitor of whom it does not answer.
func (b *bus) monitorRefused(address, reason string) {
	if a := b.auditing.Load(); a != nil {
		a.Refused(audit.Refusal{Entity: audit.Client, Who: audit.Who{Address: address}, Reason: "monitoring: " + reason})
	}
}

func (b *bus) look(id uint64) (audit.Who, bool) {
	c, ok := b.srv.Conn(id)
	return audit.Who{Account: c.Account, User: c.User, Name: c.Name, Address: c.Address, ID: id}, ok
}

// auditStatus is how it stands, nil if nothing is recorded.
func (b *bus) auditStatus() *audit.Status {
	a := b.auditing.Load()
	if a == nil {
		return nil
	}
	s := a.Status()
	return &s
}

// startedRecord is what a record says of a start.
type startedRecord struct {
	Version  string   `json:"version"`
	Server   string   `json:"server_name"`
	PID      int      `json:"pid"`
	Clients  string   `json:"clients"`
	Monitor  string   `json:"monitor,omitempty"`
	Store    string   `json:"store"`
	New      bool     `json:"new,omitempty"` // the store
	Services int      `json:"services"`      // 0: whoever comes is let in
	Made     []string `json:"made,omitempty"`
	Held     []string `json:"held_back,omitempty"`
	Findings []string `json:"findings,omitempty"` // what was wrong with the store
}

func (b *bus) started() startedRecord {
	st, cfg := b.srv.State(), b.srv.Config()
	at := b.addresses()
	name, _ := cfg.NATS["server_name"].(string)
	s := startedRecord{
		Version: version(), Server: name, PID: os.Getpid(), Clients: at.Client, Monitor: at.Monitor, Store: st.Storage.Dir, New: st.Storage.New,
		Services: len(cfg.Services), Made: changesOf(st.Done), Held: changesOf(st.Plan),
	}
	for _, f := range st.Findings {
		s.Findings = append(s.Findings, strings.TrimSpace(f.Stream+" "+f.What))
	}
	return s
}

func stopRecord(asked bool, err error) map[string]any {
	switch {
	case asked:
		return map[string]any{"because": "a signal"}
	case err != nil:
		return map[string]any{"because": firstLine(err)}
	}
	return map[string]any{}
}

// firstLine is what an error says first.
func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}

// reloadedRecord is what a record says of a reload.
type reloadedRecord struct {
	Because string   `json:"because"`
	Changed []string `json:"changed,omitempty"` // keys of the configuration
	Made    []string `json:"made,omitempty"`
	Held    []string `json:"held_back,omitempty"`
	Error   string   `json:"error,omitempty"` // why nothing was changed
}

// changesOf are the changes of a plan, in words.
func changesOf(p bootstrap.Plan) (out []string) {
	for _, c := range p.Changes {
		words := string(c.Action) + " " + c.Ref.String()
		var fields []string
		for _, f := range c.Fields {
			fields = append(fields, f.Name)
		}
		if len(fields) > 0 {
			words += ": " + strings.Join(fields, ", ")
		}
		out = append(out, words)
	}
	return out
}
