package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/term"
)

// banner says on one screen what runs where, how durable, which streams, and what to type next.
func (b *bus) banner(ready time.Duration) {
	w, st := b.c.App.ErrWriter, b.srv.State()
	bold := func(s string) string { return s }
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" {
		bold = func(s string) string { return "\x1b[1m" + s + "\x1b[0m" }
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%s\n\n", allVersions(), bold(fmt.Sprintf("ready in %d ms", ready.Milliseconds())))
	at := b.addresses()
	b.listenerRows(&out, at.Client)
	if at.Monitor != "" {
		row(&out, "monitor", at.Monitor, "/healthz /readyz /metrics /varz /jsz …")
	} else {
		row(&out, "monitor", "off")
	}
	b.storageRows(&out, st.Storage)
	b.layoutRows(&out, st)
	fmt.Fprintf(&out, "\n%s", b.tries(at))
	_, _ = io.WriteString(w, out.String()+"\n")
}

func row(w io.Writer, label string, words ...string) {
	fmt.Fprintf(w, "  %-9s %s\n", label, strings.Join(words, " · "))
}

// listenerRows say who can come in where; the client's first.
func (b *bus) listenerRows(w io.Writer, client string) {
	for _, l := range b.srv.Listeners() {
		at, label := net.JoinHostPort(l.Host, strconv.Itoa(l.Port)), l.Name
		if l.Name == "client" {
			at, label = client, "clients"
		} else if l.Port < 0 {
			at = net.JoinHostPort(l.Host, "a free port")
		}
		has := func(what, yes, no string) string {
			if slices.Contains(l.Lacks, what) {
				return no
			}
			return yes
		}
		row(w, label, at, has("authentication", "log-in required", "no log-in")+", "+has("TLS", "TLS", "no TLS")+", "+reach(l.Host))
	}
}

func reach(host string) string {
	if config.Loopback(host) {
		return "this machine only"
	}
	return "reachable from other machines"
}

func (b *bus) storageRows(w io.Writer, st server.Storage) {
	if b.temp != "" {
		row(w, "storage", "memory", "everything is gone when the bus stops")
		return
	}
	found := "found"
	if st.New {
		found = "new"
	}
	sync := "sync always: an ack means on the disk"
	if !st.SyncAlways {
		sync = fmt.Sprintf("sync every %s: a power cut can take that much of what was acknowledged", config.FormatDuration(st.Sync))
	}
	if st.Encrypted {
		found += ", encrypted"
	}
	row(w, "storage", st.Dir+" ("+found+")", sync)
	if weak := lessDurable(b.srv.Config().Streams); len(weak) > 0 {
		row(w, "", "not so "+short(weak))
	}
	if v := server.VolumeOf(st.Dir); v.Doubt != "" {
		row(w, "", "WARNING: the file system, "+v.Kind+", "+v.Doubt+"; "+v.WayOut)
	}
	free, err := server.FreeSpace(st.Dir)
	if err != nil {
		row(w, "", "limit "+humanize.IBytes(uint64(st.Limit)))
		return
	}
	space := b.srv.State().Space
	words := []string{"limit " + humanize.IBytes(uint64(st.Limit)), humanize.IBytes(free) + " free"}
	if space.Keep > 0 {
		words = append(words, humanize.IBytes(space.Keep)+" of it kept")
	}
	row(w, "", words...)
	switch {
	case space.Refusing != "":
		row(w, "", "WARNING: publishing is refused: "+space.Refusing)
	case free < space.Keep+uint64(st.Limit):
		row(w, "", "WARNING: the disk has less room than max_file_store; publishes are refused before the streams are full")
	}
}

// lessDurable names the streams for which an acknowledgement does not mean that the message is on the disk, whatever
// sync_interval says.
func lessDurable(streams []config.Stream) (names []string) {
	for _, s := range streams {
		switch {
		case s.Storage == jetstream.MemoryStorage:
			names = append(names, s.Name+" (in memory, gone after a restart)")
		case s.PersistMode == jetstream.AsyncPersistMode:
			names = append(names, s.Name+" (persist_mode async: acknowledged before it is written)")
		}
	}
	return names
}

// layoutRows says what became of each declared stream and consumer.
func (b *bus) layoutRows(w io.Writer, st server.State) {
	var streams, consumers tally
	for _, s := range b.srv.Config().Streams {
		streams.declared++
		consumers.declared += len(s.Consumers)
	}
	for _, c := range st.Done.Changes {
		t := &streams
		if c.Consumer != "" {
			t = &consumers
		}
		if c.Action == bootstrap.Create {
			t.created++
		} else {
			t.changed++
		}
	}
	row(w, "layout", streams.say("stream"))
	row(w, "", consumers.say("consumer"))
	for _, line := range heldLines(st.Plan) {
		row(w, "", line)
	}
	if n := len(st.Plan.Undeclared); n > 0 {
		var names []string
		for _, u := range st.Plan.Undeclared {
			names = append(names, u.String())
		}
		row(w, "", "not declared, left alone: "+short(names))
	}
}

type tally struct{ declared, created, changed int }

// say words a tally: "8 streams: 1 created, 7 unchanged".
func (t tally) say(noun string) string {
	if t.declared == 0 {
		return "no " + noun + "s"
	}
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{t.created, "created"}, {t.changed, "changed"}, {t.declared - t.created - t.changed, "unchanged"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return count(t.declared, noun) + ": " + strings.Join(parts, ", ")
}

// heldLines says what was not changed, and how to.
func heldLines(plan bootstrap.Plan) (lines []string) {
	for _, c := range plan.Changes {
		for _, f := range c.Fields {
			lines = append(lines, fmt.Sprintf("held back: %s: %s", c.Ref, f))
		}
	}
	for _, line := range adviceOnHeld(plan) {
		lines = append(lines, "           "+line)
	}
	return lines
}

// short lists the first few.
func short(names []string) string {
	if n := len(names); n > 5 {
		return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", n-5)
	}
	return strings.Join(names, ", ")
}

// tries are two lines to type next.
func (b *bus) tries(at addresses) string {
	server := ""
	if at.Client != "nats://127.0.0.1:4222" {
		server = " --server " + at.Client
	}
	if slices.ContainsFunc(b.srv.Listeners(), func(l config.Listener) bool { return l.Name == "client" && !slices.Contains(l.Lacks, "authentication") }) {
		server += "     (with --nkey or --tlscert FILE, or a user in NATS_URL)"
	}
	s := "  try       deltran-bus status" + server + "\n"
	if at.Monitor != "" {
		s += "            curl " + at.Monitor + "/readyz\n"
	}
	return s
}

// logHeld repeats in the log what the banner says was held back.
func (b *bus) logHeld(st server.State) {
	for _, c := range st.Plan.Changes {
		for _, f := range c.Fields {
			b.log.Warn("held back", "what", c.Ref.String(), "field", f.Name, "class", string(f.Class), "why", f.Why, "change", f.String())
		}
	}
}
