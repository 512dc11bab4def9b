package blocks

import (
	"cmp"
	"fmt"
	"path"
	"slices"
)

// readIndex takes in index.db, if it can be read: nats-server rebuilds it when it cannot.
func (s *scan) readIndex() error {
	name := path.Join(msgsDir, indexFile)
	b, ok, err := s.file(name, Index)
	if err != nil || !ok {
		return err
	}
	body, err := unseal(b, s.Stream)
	if err != nil {
		s.found(Damage{File: name, What: Checksum, Part: Index, Size: int64(len(b)), Detail: err.Error()})
		return nil
	}
	if s.Encrypted {
		return nil
	}
	x, err := decodeIndex(body)
	if err != nil {
		s.found(Damage{File: name, What: Malformed, Part: Index, Size: int64(len(b)), Detail: err.Error()})
		return nil
	}
	s.index = x
	return nil
}

// readTimers takes in when messages are due.
func (s *scan) readTimers() error {
	name := path.Join(msgsDir, ttlFile)
	if b, ok, err := s.file(name, Index); err != nil {
		return err
	} else if ok {
		dues, _, err := decodeTTLs(b)
		s.implausible(name, Index, err)
		s.dues = dues
	}
	name = path.Join(msgsDir, schedFile)
	b, ok, err := s.file(name, Index)
	if ok {
		s.implausible(name, Index, decodeSchedules(b))
	}
	return err
}

// meet compares a message with when it is said to be due.
func (s *scan) meet(r *Record) {
	if len(s.dues) == 0 {
		return
	}
	i, ok := slices.BinarySearchFunc(s.dues, r.Seq, func(d due, seq uint64) int { return cmp.Compare(d.seq, seq) })
	for ; ok && i < len(s.dues) && s.dues[i].seq == r.Seq; i++ {
		s.dues[i].met = s.dues[i].when == expiry(r.Header, r.Time)
		s.dues[i].read = true
	}
}

// checkTimers finds the first message that would be deleted at a time that it does not name.
func (s *scan) checkTimers() {
	for _, d := range s.dues {
		if d.read && !d.met && s.Live(d.seq) {
			s.found(Damage{File: path.Join(msgsDir, ttlFile), What: Implausible, Part: Index,
				Detail: fmt.Sprintf("message %d would be deleted at a time that is not its own", d.seq)})
			return
		}
	}
}
