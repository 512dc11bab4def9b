package blocks

import (
	"fmt"
	"slices"
)

// settle compares one block with what the index says of it.
func (s *scan) settle(b Block, damage []Damage) {
	defer func() { s.found(damage...) }()
	known, ok := s.index.of(b.Number)
	if !ok || b.Encrypted || !s.Clean {
		return
	}
	for gap := range Missing(Range{known.first, known.last}, &s.present, known.deleted) {
		s.gap(b.File(), gap, &damage)
	}
}

// gap is messages that the index names and the block does not have.
func (s *scan) gap(file string, gap Range, damage *[]Damage) {
	for _, d := range *damage {
		if d.After < gap.First && (d.Before == 0 || d.Before > gap.Last) {
			return // by this
		}
	}
	*damage = append(*damage, Damage{File: file, What: Hole, Part: Messages, Detail: "index.db names them", After: gap.First - 1, Before: gap.Last + 1})
}

// judge draws the conclusions that need all blocks.
func (s *scan) judge(numbers []uint32) {
	there := map[uint32]bool{}
	for _, n := range numbers {
		there[n] = true
	}
	whole := true // everything the index names is there
	if x := s.index; x != nil {
		for _, b := range x.blocks {
			if there[b.number] || b.number < s.From {
				continue
			}
			whole = false
			if s.Clean && b.messages() > 0 {
				d := []Damage{}
				s.gap(blockFile(b.number), Range{b.first, b.last}, &d)
				for i := range d {
					d[i].What, d[i].Detail = Gone, "the block that index.db names is not there"
				}
				s.found(d...)
			}
		}
	}
	vouched := s.vouched(numbers) && whole
	if !vouched && !s.Clean {
		s.torn()
	}
	if s.Clean && !s.Encrypted {
		s.closed(vouched)
	}
	s.subjects()
	s.count(vouched)
	s.checkTimers()
	s.gaps()
}

// vouched reports whether the index describes these blocks: by the same signs by which nats-server believes it.
func (s *scan) vouched(numbers []uint32) bool {
	if s.index == nil || len(numbers) == 0 || len(s.Blocks) == 0 {
		return false
	}
	last := s.Blocks[len(s.Blocks)-1]
	return last.Number == s.index.block && last.End == s.index.sum
}

// torn turns damage at the very end, with nothing readable behind it, into what a crash leaves.
func (s *scan) torn() {
	i := len(s.Blocks) - 1
	for i >= 0 && s.Blocks[i].Size == 0 {
		i--
	}
	if i < 0 || s.More > 0 {
		return
	}
	b := s.Blocks[i]
	for j := len(s.Damage) - 1; j >= 0; j-- {
		d := &s.Damage[j]
		if d.File != b.File() || d.Part != Messages {
			continue
		}
		if (d.What == Checksum || d.What == Malformed) && d.Offset+d.Size == b.Size {
			d.Detail, d.What = fmt.Sprintf("%s: the last %d bytes are no whole record", d.What, d.Size), Torn
		}
		return
	}
}

// closed looks for what only a clean stop lets one know.
func (s *scan) closed(vouched bool) {
	if s.index == nil || len(s.Blocks) == 0 {
		return
	}
	x, last, file := s.index, s.Blocks[len(s.Blocks)-1], blockFile(s.index.block)
	for _, d := range s.Damage {
		if d.File == file {
			return
		}
	}
	switch {
	case s.Last < x.last:
		s.found(Damage{File: file, Offset: last.Size, What: Hole, Part: Messages, Detail: "index.db knows later sequences", After: s.Last, Before: x.last + 1})
	case !vouched:
		s.found(Damage{File: file, Offset: last.Size, What: Hole, Part: Messages, After: s.Last, Before: s.Last + 1,
			Detail: "it does not end as it did when the store was closed"})
	}
}

// subjects compares the messages that the index knows with its count of them by subject. While all of them are there, be
// it deleted since, the two have to be equal: the one trace of a border between subject and payload that has moved.
func (s *scan) subjects() {
	if x := s.index; x != nil && s.From == 0 && !s.lossy() && x.subjects.n == s.seen.n && x.subjects != s.seen {
		s.found(Damage{File: msgsDir, What: Boundary, Part: Messages,
			Detail: "messages are not of the subjects that index.db counts: where a subject ends was changed"})
	}
}

// count is how many messages are live.
func (s *scan) count(vouched bool) {
	if s.indexed = vouched; vouched {
		s.Messages = uint64(s.held.Len())
		s.Last = max(s.Last, s.index.last)
		return
	}
	s.Messages = uint64(s.present.Len() - s.present.common(&s.deleted))
}

// gaps are what no record and no tombstone accounts for, between the first message and the end, or that the index names
// before that. What damage explains is not among them.
func (s *scan) gaps() {
	if s.Encrypted || s.From > 0 || s.Clean || len(s.Blocks) == 0 {
		return
	}
	sets := []*Set{&s.present, &s.deleted}
	r := Range{s.Last + 1, s.Last}
	for _, b := range s.Blocks {
		if b.First > 0 {
			r.First = min(r.First, b.First)
		}
	}
	if s.index != nil {
		if s.index.first > 0 && s.index.first <= s.index.last {
			r.First = min(r.First, s.index.first)
		}
		r.Last = max(r.Last, s.index.last)
		for _, b := range s.index.blocks {
			sets = append(sets, b.deleted)
		}
	}
	for gap := range Missing(r, sets...) {
		explained := slices.ContainsFunc(s.Damage, func(d Damage) bool {
			return d.Part == Messages && d.After < gap.First && (d.Before == 0 || d.Before > gap.Last)
		})
		if !explained && len(s.Gaps) < s.Most {
			s.Gaps = append(s.Gaps, gap)
		}
	}
}
