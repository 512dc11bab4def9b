package blocks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// Options of Scan; the zero value reads everything.
type Options struct {
	// Clean: nats-server was stopped, not killed, when it last had the store. Then its index says exactly which messages
	// have to be there, and a torn end is damage.
	Clean bool
	Small bool                // only the small files: descriptions, consumers, when messages are due
	From  uint32              // blocks with smaller numbers are left out
	Visit func(*Record) error // called with every readable record, block after block; an error of its ends the scan
	Pace  func(bytes int) error
	Most  int // damages to keep; more are counted. 0 is 1,000
}

// Report is what Scan found.
type Report struct {
	Stream    string
	Encrypted bool // messages and descriptions are; their damage is found by nats-server
	Blocks    []Block
	Messages  uint64 // not deleted, as nats-server has them before it enforces the stream's limits
	Last      uint64 // the highest sequence that was ever used, as far as the blocks tell
	Newest    int64  // unix nanoseconds, the latest time of any record
	Damage    []Damage
	More      int // damages beyond Options.Most
	// Gaps are sequences that no record and no tombstone accounts for, from the first known message to the end; only looked
	// for when the stop was not clean, and in all blocks. Limits make some: what they delete is in index.db alone, and
	// only when that is written again.
	Gaps []Range
	// Batch is the first message of the atomic batch that the stream ends with, 0 if it does not: nats-server writes all of
	// one and syncs it then, so that a power cut can tear it anywhere. Only that is torn before its end.
	Batch     uint64
	Leftovers []string // of interrupted work; nats-server removes them
	Unknown   []string // files that nats-server does not make

	present, deleted Set  // as the blocks tell
	held             Set  // present, and not deleted as index.db tells
	indexed          bool // index.db is what nats-server goes by
}

// Live reports whether the message is there and not deleted.
func (r *Report) Live(seq uint64) bool {
	if r.indexed {
		return r.held.Has(seq)
	}
	return r.present.Has(seq) && !r.deleted.Has(seq)
}

type scan struct {
	Options
	*Report
	dir   string
	msgs  string // folder of the blocks, from dir
	index *index
	dues  []due
	buf   Buffers
	seen  tally
	batch string // that the messages from Batch on are of
}

// Scan reads the stream in this folder, which nobody may be writing to. The error is Visit's or Pace's, or says that
// there is no such folder; everything that is wrong in it is in the report.
//
// The end of the last block may be Torn: a record that was being written when the machine or the process ended. What was
// acknowledged under sync always is never in it; whether it was can only be known from outside, by the last sequence.
func (r Reader) Scan(dir string, o Options) (*Report, error) {
	if o.Most == 0 {
		o.Most = 1000
	}
	s := &scan{Options: o, Report: &Report{Stream: filepath.Base(dir)}, dir: dir, msgs: msgsDir}
	if _, err := os.ReadDir(dir); err != nil {
		return s.Report, err
	}
	for _, step := range []func() error{s.description, s.messages, s.consumers, s.batches} {
		if err := step(); err != nil {
			var p paced
			if errors.As(err, &p) {
				err = p.error
			}
			return s.Report, err
		}
	}
	return s.Report, nil
}

func (s *scan) found(d ...Damage) {
	for _, d := range d {
		if len(s.Damage) == s.Most {
			s.More++
			continue
		}
		s.Damage = append(s.Damage, d)
	}
}

// messages looks at the blocks, and at the files beside them.
func (s *scan) messages() error {
	if s.Small {
		return s.readTimers()
	}
	numbers, err := s.list()
	if err != nil {
		return err
	}
	if err := s.readIndex(); err != nil {
		return err
	}
	if err := s.readTimers(); err != nil {
		return err
	}
	var last uint64
	for _, n := range numbers {
		if n < s.From {
			continue
		}
		b, damage, err := Reader{}.ReadBlock(s.dir, n, BlockOptions{After: last, Visit: s.record(n), Pace: s.Pace, Buffers: &s.buf})
		if errors.Is(err, fs.ErrNotExist) {
			damage, err = []Damage{{File: b.File(), What: Gone, Part: Messages, After: last}}, nil
		}
		if err != nil {
			return err
		}
		if s.Encrypted && !b.Encrypted && b.Records == 0 && len(damage) > 0 { // it is, or else it was not encrypted yet
			b.Encrypted = true
			damage = []Damage{{File: path.Join(msgsDir, fmt.Sprint(n)+keyExt), What: Gone, Part: Messages, Detail: "the key of an encrypted block"}}
		}
		s.Blocks = append(s.Blocks, b)
		last = max(last, b.Last)
		if b.First > 0 { // it comes behind what the blocks before have lost at their end
			for i := range s.Damage {
				if d := &s.Damage[i]; d.Part == Messages && d.Before == 0 {
					d.Before = max(b.First, d.After+1)
				}
			}
		}
		s.settle(b, damage)
	}
	s.judge(numbers)
	return nil
}

// record takes in what one record says.
func (s *scan) record(block uint32) func(*Record) error {
	known, _ := s.index.of(block)
	return func(r *Record) error {
		s.Last = max(s.Last, r.Seq)
		s.Newest = max(s.Newest, r.Time)
		switch r.Kind {
		case Tombstone:
			s.deleted.Add(r.Seq)
		case Erased:
			s.deleted.Add(r.Seq)
		case Message:
			if s.present.Add(r.Seq) && known.holds(r.Seq) {
				s.held.Add(r.Seq)
				s.seen.add(r.Subject, 1)
			}
			s.meet(r)
			if id := batchOf(r.Header); id != s.batch {
				s.batch, s.Batch = id, r.Seq
			}
			if s.batch == "" {
				s.Batch = 0
			}
		}
		if s.Visit == nil {
			return nil
		}
		return s.Visit(r)
	}
}

// Numbers are those of a stream's blocks, in order.
func (Reader) Numbers(dir string) ([]uint32, error) {
	entries, err := os.ReadDir(filepath.Join(dir, msgsDir))
	if err != nil {
		return nil, err
	}
	var all []uint32
	for _, e := range entries {
		if n, ok := blockNumber(e.Name()); ok {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

var batchID = []byte("\r\nNats-Batch-Id:")

// batchOf is the atomic batch that a message with these headers was in; empty if in none.
func batchOf(header []byte) string {
	_, value, ok := bytes.Cut(header, batchID)
	if !ok {
		return ""
	}
	value, _, _ = bytes.Cut(value, batchID[:2])
	return string(bytes.TrimSpace(value))
}

// list is the numbers of the blocks in order; what else is in the folder is noted.
func (s *scan) list() (numbers []uint32, _ error) {
	if staged, err := filepath.Glob(filepath.Join(s.dir, newMsgsDir, "*"+blockExt)); err == nil && len(staged) > 0 {
		s.Leftovers = append(s.Leftovers, newMsgsDir)
		return nil, nil // nats-server completes the purge: what is in msgs, if it is there at all, goes
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, s.msgs))
	if err != nil {
		if d, ok := unreadable(s.msgs, Messages, err); ok {
			s.found(d)
		}
		return nil, nil
	}
	for _, e := range entries {
		name := e.Name()
		n, isBlock := blockNumber(name)
		switch {
		case isBlock:
			numbers = append(numbers, n)
		case path.Ext(name) == keyExt:
			if info, err := e.Info(); err == nil && info.Size() < 64 {
				s.found(Damage{File: path.Join(s.msgs, name), What: Malformed, Part: Messages, Detail: "the key is cut short"})
			}
		case name == indexFile, name == ttlFile, name == schedFile:
		case leftover(name):
			s.Leftovers = append(s.Leftovers, path.Join(s.msgs, name))
		default:
			s.Unknown = append(s.Unknown, path.Join(s.msgs, name))
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// leftover reports whether the name is one that nats-server gives to what it has not finished, or no longer writes.
func leftover(name string) bool {
	switch path.Ext(name) {
	case ".tmp", ".new", ".idx", ".fss":
		return true
	}
	return len(name) > 6 && name[:6] == "_test_"
}
