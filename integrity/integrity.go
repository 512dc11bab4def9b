// Package integrity finds damage in a store before nats-server opens it, and while it runs, and keeps a copy of what is
// damaged before anything can overwrite it.
//
// Look is for a store that nobody has open. nats-server answers a damaged record, when it has to rebuild a block after
// a crash, by cutting off the rest of the block; a description that it cannot read costs the stream; a changed number in a
// consumer's state makes it skip messages. So all that is looked at first, and what the ledger has a copy of is put back.
//
// Scrub reads everything again, bit by bit, beside a running nats-server.
package integrity

import (
	"fmt"
	"path"
	"strings"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/ledger"
	"github.com/dustin/go-humanize"
)

const (
	root       = "jetstream" // of nats-server, in the store folder
	ownAccount = "$G"        // the bus's; the ledger knows its streams
)

// place is one stream's folder.
type place struct {
	account, stream string
	rel             string // below the store folder, with slashes
	dir             string
}

// name is how findings call it: those of other accounts with the account.
func (p place) name() string {
	if p.account == ownAccount {
		return p.stream
	}
	return p.account + "/" + p.stream
}

// harm is all damage of one file.
type harm struct {
	file   string // below the stream's folder
	part   blocks.Part
	first  blocks.Damage
	places int
	from   uint64 // messages concerned, both included; from > to is none
	to     uint64
	behind int
	copied string // where a copy is, below the store folder; empty if there is none, and why not in failed
	failed error
}

// byFile gathers damage by file, in the order in which it was found.
func byFile(all []blocks.Damage) (out []*harm) {
	type key struct {
		file string
		hole bool // what is not there is told apart from what is there and damaged
	}
	known := map[key]*harm{}
	for _, d := range all {
		k := key{d.File, d.What == blocks.Hole}
		h := known[k]
		if h == nil {
			h = &harm{file: d.File, part: d.Part, first: d, from: 1}
			known[k] = h
			out = append(out, h)
		}
		h.places++
		h.behind = max(h.behind, d.Behind)
		if d.Part != blocks.Messages {
			continue
		}
		from, to := d.After+1, d.Before-1
		if d.Before == 0 {
			to = ^uint64(0)
		}
		switch {
		case from > to: // a record of something deleted
		case h.from > h.to:
			h.from, h.to = from, to
		default:
			h.from, h.to = min(h.from, from), max(h.to, to)
		}
	}
	return out
}

// consumer is whose file it is.
func (h *harm) consumer() string {
	if parts := strings.Split(h.file, "/"); len(parts) > 1 && parts[0] == "obs" {
		return parts[1]
	}
	return ""
}

// finding says what is damaged; the rest of the sentence says what comes of it.
func (h *harm) finding(p place, what string) ledger.Finding {
	f := ledger.Finding{Kind: ledger.Damage, Stream: p.name(), Consumer: h.consumer(), File: path.Join(p.rel, h.file), Offset: h.first.Offset}
	if h.from <= h.to {
		f.From = h.from
		if h.to != ^uint64(0) {
			f.To = h.to
			f.Lost = h.to - h.from + 1
		}
	}
	f.What = fmt.Sprintf("%s %s", h.file, h.words())
	if what != "" {
		f.What += "; " + what
	}
	if h.copied != "" {
		f.What += "; a copy is " + h.copied
	} else if h.failed != nil {
		f.What += fmt.Sprintf("; it could not be copied to %s: %v", Folder, h.failed)
	}
	return f
}

func (h *harm) words() string {
	d := h.first
	var s string
	switch d.What {
	case blocks.Gone:
		s = "is gone"
	case blocks.Unreadable:
		s = "cannot be read"
	case blocks.Hole:
		s = "does not hold all that it should"
	default:
		if s = "is damaged"; h.part == blocks.Messages && d.What != blocks.Boundary {
			s += fmt.Sprintf(" at byte %d", d.Offset)
		}
	}
	if h.places > 1 {
		s += fmt.Sprintf(" and in %s more places", humanize.Comma(int64(h.places-1)))
	}
	detail := d.Detail
	if detail == "" && (d.What == blocks.Checksum || d.What == blocks.Malformed) {
		detail = string(d.What)
	}
	if detail != "" {
		s += " (" + detail + ")"
	}
	switch {
	case h.part != blocks.Messages || h.from > h.to:
	case h.to == ^uint64(0):
		s += fmt.Sprintf(": messages from %d on", h.from)
	case h.from == h.to:
		s += fmt.Sprintf(": message %d", h.from)
	default:
		s += fmt.Sprintf(": messages %d to %d", h.from, h.to)
	}
	return s
}

func readable(messages int) string {
	if messages == 1 {
		return "1 readable message"
	}
	return humanize.Comma(int64(messages)) + " readable messages"
}
