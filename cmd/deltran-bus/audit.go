package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deltran/deltran-bus/audit"
	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
)

const auditAbout = `Shows what happened to the bus itself: started and stopped, reloaded, clients rejected, permissions denied, streams and
consumers made, changed and removed, messages deleted, backups. It needs a log-in that may read stream AUDIT: of the roles,
observer, operator or admin. audit verify proves that none was altered or taken away.`

func auditFlags() []cli.Flag {
	return remoteFlags(&cli.StringFlag{Name: "since", Usage: "those stored since then: a `TIME` such as 2025-11-06T12:00:00Z, or 1h or 7d ago"})
}

func auditCommands() []*cli.Command {
	return []*cli.Command{{
		Name: "verify", Usage: "prove that no record was altered, taken away or put between", ArgsUsage: " ",
		Flags:  remoteFlags(&cli.StringSliceFlag{Name: "key", Usage: "the public `KEY` of a bus whose records are trusted (default: the key in the configuration's store, where it can be read)"}),
		Action: noArguments(withRemote(auditVerify)),
	}}
}

// auditList prints the records.
func auditList(c *cli.Context, r *remote) error {
	now := time.Now()
	since, err := moment(c, "since", now)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	enc := newEncoder(c.App.Writer)
	shown := 0
	for e, err := range audit.Read(c.Context, r.js, since) {
		if err != nil {
			return noAudit(err)
		}
		if c.Bool("json") {
			if err := enc.Encode(auditJSON(e)); err != nil {
				return err
			}
			continue
		}
		if shown == 0 {
			fmt.Fprintln(tw, "TIME\tRECORD\tWHAT\tBY\tDETAILS")
		}
		if shown++; shown%1000 == 0 { // what is long is shown while it is read
			if err := tw.Flush(); err != nil {
				return err
			}
		}
		fmt.Fprintln(tw, auditRow(e))
	}
	if shown == 0 && !c.Bool("json") {
		fmt.Fprintln(c.App.ErrWriter, "nothing is recorded"+sinceWords(since))
	}
	return tw.Flush()
}

func sinceWords(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + t.UTC().Format(time.RFC3339)
}

// auditEntry is a record for machines.
type auditEntry struct {
	Sequence uint64          `json:"sequence"`         // in AUDIT
	Number   uint64          `json:"number,omitempty"` // in the chain
	Stored   time.Time       `json:"stored"`
	Event    json.RawMessage `json:"event,omitempty"`
	Invalid  string          `json:"invalid,omitempty"`
}

func auditJSON(e audit.Entry) auditEntry {
	out := auditEntry{Sequence: e.Sequence, Number: e.Number, Stored: e.Stored.UTC(), Invalid: e.Invalid}
	if e.Event.ID != "" {
		out.Event, _ = e.Event.Encode() // it was decoded
	}
	return out
}

// auditRow is a record for people.
func auditRow(e audit.Entry) string {
	number := "-"
	if e.Number > 0 {
		number = fmt.Sprint(e.Number)
	}
	at := e.Event.Timestamp
	if at.IsZero() {
		at = e.Stored
	}
	var by struct {
		By     *audit.Who `json:"by"`
		Others bool       `json:"others"`
	}
	_ = json.Unmarshal(e.Event.Data, &by) // it is an object
	who := audit.Source
	switch {
	case by.By != nil:
		who = byWhom(*by.By)
	case by.Others:
		who = "several"
	}
	details := auditDetails(e.Event.Data)
	if e.Invalid != "" {
		details = strings.TrimSpace("NOT THE BUS'S OWN: " + e.Invalid + "  " + details)
	}
	return strings.Join([]string{at.UTC().Format("2006-01-02T15:04:05.000Z"), number, printable(e.Event.Type), printable(who), printable(details)}, "\t")
}

// byWhom is a client in a few words.
func byWhom(w audit.Who) string {
	if w.Address == "" {
		return audit.Source
	}
	who := w.User
	if who == "" {
		who = w.Name
	}
	if who == "" {
		who = "somebody"
	}
	return who + " at " + w.Address
}

// auditDetails are the members of a record's data but who did it, as name=value.
func auditDetails(data json.RawMessage) string {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if _, err := dec.Token(); err != nil {
		return ""
	}
	var words []string
	for dec.More() {
		name, err := dec.Token()
		var v json.RawMessage
		if err != nil || dec.Decode(&v) != nil {
			break
		}
		if s := detail(v); name != "by" && name != "others" && s != "" {
			words = append(words, fmt.Sprintf("%v=%s", name, s))
		}
	}
	return strings.Join(words, " ")
}

func detail(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		if strings.ContainsAny(s, " =\"") {
			return fmt.Sprintf("%q", s)
		}
		return s
	}
	var changes []struct {
		Field    string
		From, To json.RawMessage
	}
	if json.Unmarshal(v, &changes) == nil && len(changes) > 0 && changes[0].Field != "" {
		var words []string
		for _, c := range changes {
			words = append(words, fmt.Sprintf("%s: %s → %s", c.Field, orNone(c.From), orNone(c.To)))
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	dec := json.NewDecoder(bytes.NewReader(v))
	dec.UseNumber()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // subjects have a >
	var plain any
	if dec.Decode(&plain) != nil || enc.Encode(plain) != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

func orNone(v json.RawMessage) string {
	if len(v) == 0 {
		return "none"
	}
	return string(v)
}

// auditVerify proves the chain.
func auditVerify(c *cli.Context, r *remote) error {
	var heads []audit.Head
	for _, key := range c.StringSlice("key") {
		heads = append(heads, audit.Head{Key: key})
	}
	var own []audit.Head
	if len(heads) == 0 {
		switch h, err := audit.ReadHead(r.cfg.StoreDir()); {
		case err == nil:
			own = []audit.Head{h}
		case !errors.Is(err, fs.ErrNotExist):
			fmt.Fprintf(c.App.ErrWriter, "deltran-bus: the key in the store cannot be read: %v\n", plainPath(err))
		}
	}
	elsewhere := c.String("server") != ""
	if !elsewhere {
		heads = append(heads, own...)
	}
	p, err := audit.Verify(c.Context, r.js, heads)
	if err == nil && elsewhere && len(own) > 0 && slices.ContainsFunc(p.Chains, func(ch audit.Chain) bool { return ch.Key == own[0].Key }) { // the store is that bus's
		heads = own
		p, err = audit.Verify(c.Context, r.js, heads)
	}
	if err != nil {
		return noAudit(err)
	}
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, struct {
			Sound bool `json:"sound"`
			audit.Proof
		}{p.Sound(), p})
	} else {
		err = writeProof(c.App.Writer, p, len(heads) > 0)
	}
	if err == nil && !p.Sound() {
		err = errDifferent
	}
	return err
}

func writeProof(w io.Writer, p audit.Proof, keyKnown bool) error {
	out := &strings.Builder{}
	for _, ch := range p.Chains {
		word := "ok"
		if ch.Break != nil {
			word = "BROKEN"
		}
		fmt.Fprintf(out, "%s  %s of key %s", word, count(ch.Records, "record"), ch.Key)
		if ch.Records > 0 {
			fmt.Fprintf(out, ", %s to %s, stored from %s to %s", humanize.Comma(int64(ch.First)), humanize.Comma(int64(ch.Last)), ch.From.UTC().Format(time.RFC3339), ch.To.UTC().Format(time.RFC3339))
		}
		fmt.Fprintln(out)
		if ch.Note != "" {
			fmt.Fprintf(out, "    %s\n", ch.Note)
		}
		if ch.Break != nil {
			fmt.Fprintf(out, "    %s\n", ch.Break)
		}
	}
	for _, b := range p.Foul {
		fmt.Fprintf(out, "FOUL  %s\n", b)
	}
	switch {
	case len(p.Chains) == 0 && len(p.Foul) == 0:
		fmt.Fprintln(out, "nothing is recorded")
	case !keyKnown:
		fmt.Fprintln(out, "Whether these keys are the bus's is not known here: run it where the store is, or name them with --key.")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// noAudit words that there is no trail.
func noAudit(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("there is no stream %s here, and so no audit trail", audit.Stream)
	}
	return noJetStream(err)
}
