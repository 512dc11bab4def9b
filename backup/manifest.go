package backup

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Names of the parts of an archive. A stream's folder is what natscli calls a backup.
const (
	manifestName = "manifest.json"
	streamsDir   = "streams"
	metaName     = "backup.json"   // configuration and state, as JetStream gave them
	dataName     = "stream.arc.s2" // messages and consumers, as nats-server sent them
	legacyName   = "stream.tar.s2" // the same from a nats-server before 2.15; natscli writes it, we only read it
)

const (
	formatName    = "deltran-bus backup"
	formatVersion = 1
)

// Manifest is the last part of an archive, and says what the others are. Fields are only ever added.
type Manifest struct {
	Format   string    `json:"format"`  // "deltran-bus backup"
	Version  int       `json:"version"` // 1
	Moment   time.Time `json:"moment"`  // what was stored before, is in; taken from the clock of the machine that made the archive
	Finished time.Time `json:"finished"`
	Bus      string    `json:"deltran_bus"` // versions: of the program that made it,
	NATS     string    `json:"nats_server"` // and of the NATS that it was taken from,
	Server   string    `json:"server"`      // which has this name
	Streams  []Stream  `json:"streams"`     // in the order of their names
}

// Stream is one stream of an archive, as of its own moment: a prefix of what the stream has held since.
type Stream struct {
	Name      string    `json:"name"`
	Moment    time.Time `json:"moment"`           // when it was read up to LastSeq
	Created   time.Time `json:"created,omitzero"` // when the stream was made; those that copy from it know it by that
	Storage   string    `json:"storage"`
	Messages  uint64    `json:"messages"`
	Bytes     uint64    `json:"bytes"` // in its store
	FirstSeq  uint64    `json:"first_seq"`
	LastSeq   uint64    `json:"last_seq"`
	FirstTime time.Time `json:"first_time,omitzero"`
	LastTime  time.Time `json:"last_time,omitzero"`
	Consumers []string  `json:"consumers"`
	Digest    string    `json:"digest"`              // over sequence, time, subject, headers and payload of every message
	Damage    *Damage   `json:"damage,omitempty"`    // what could not be read
	Gone      uint64    `json:"gone,omitempty"`      // messages deleted or expired while it was read
	Parts     []Part    `json:"parts"`               // in their order
	Unchecked bool      `json:"unchecked,omitempty"` // from a folder that natscli wrote: nothing was recorded to check it by
}

// Damage is what a NATS says it holds and cannot read.
type Damage struct {
	Messages  uint64   `json:"messages,omitempty"`  // how many
	Sequences []uint64 `json:"sequences,omitempty"` // the first of them
	Lost      uint64   `json:"lost,omitempty"`      // bytes that nats-server found unreadable when it last opened the store
}

func (d *Damage) String() string {
	var parts []string
	switch list := strings.ReplaceAll(strings.Trim(fmt.Sprint(d.Sequences), "[]"), " ", ", "); {
	case d.Messages == 1:
		parts = append(parts, fmt.Sprintf("message %s cannot be read", list))
	case d.Messages > 0:
		parts = append(parts, fmt.Sprintf("%d messages cannot be read, such as %s", d.Messages, list))
	}
	if d.Lost > 0 {
		parts = append(parts, fmt.Sprintf("nats-server lost %d bytes when it opened the store", d.Lost))
	}
	return strings.Join(parts, "; ")
}

// Part is one file within an archive.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // in hexadecimal
}

// Messages is how many the archive holds.
func (m *Manifest) Messages() (n uint64) {
	for _, s := range m.Streams {
		n += s.Messages
	}
	return n
}

// Damaged names the streams of which something could not be read when the archive was made.
func (m *Manifest) Damaged() (names []string) {
	for _, s := range m.Streams {
		if s.Damage != nil {
			names = append(names, s.Name)
		}
	}
	return names
}

// Stream returns the stream of that name, nil if there is none.
func (m *Manifest) Stream(name string) *Stream {
	i := slices.IndexFunc(m.Streams, func(s Stream) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Streams[i]
}

func parseManifest(b []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, bad(manifestName, "%w", err)
	}
	if m.Format != formatName {
		return nil, bad(manifestName, "its format is %q, not %q", m.Format, formatName)
	}
	if m.Version != formatVersion {
		return nil, bad(manifestName, "version %d was written by a later deltran-bus (%s); use that one", m.Version, m.Bus)
	}
	return &m, nil
}

func partName(stream, file string) string { return path.Join(streamsDir, stream, file) }

func hexSum(b []byte) string { return hex.EncodeToString(b) }

func digestOf(sum []byte) string { return "hh256:" + hexSum(sum) }
