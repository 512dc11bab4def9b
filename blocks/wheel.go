package blocks

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// due is when a message is to be deleted, as thw.db says. nats-server deletes by it without a look at the message.
type due struct {
	seq  uint64
	when int64
	read bool // its message was
	met  bool // and says the same
}

// decodeTTLs reads thw.db: 1, number of entries and the sequence that it reaches to (8 bytes each), and the entries.
func decodeTTLs(b []byte) (_ []due, reach uint64, _ error) {
	n, reach, r, err := counted(b)
	if err != nil {
		return nil, 0, err
	}
	all := make([]due, 0, min(n, uint64(len(r.b)/2)))
	for range n {
		d := due{when: r.varint(), seq: r.uvarint()}
		if r.bad {
			return nil, 0, errShort
		}
		if d.seq >= reach {
			return nil, 0, fmt.Errorf("message %d in a file that reaches to %d", d.seq, reach)
		}
		all = append(all, d)
	}
	if len(r.b) > 0 {
		return nil, 0, errShort
	}
	slices.SortFunc(all, func(a, b due) int { return cmp.Compare(a.seq, b.seq) })
	return all, reach, nil
}

// decodeSchedules checks sched.db: as thw.db, with entries of subject, time and sequence.
func decodeSchedules(b []byte) error {
	n, reach, r, err := counted(b)
	if err != nil {
		return err
	}
	for range n {
		size := r.bytes(2)
		if r.bad {
			return errShort
		}
		subject := r.bytes(uint64(size[0]) | uint64(size[1])<<8)
		r.varint()
		seq := r.uvarint()
		if r.bad {
			return errShort
		}
		if len(subject) == 0 || seq >= reach {
			return fmt.Errorf("message %d of %q in a file that reaches to %d", seq, subject, reach)
		}
	}
	if len(r.b) > 0 {
		return errShort
	}
	return nil
}

// decodeSources checks sources.db: as thw.db, with entries of name, sequence and identity.
func decodeSources(b []byte) error {
	n, _, r, err := counted(b)
	if err != nil {
		return err
	}
	for range n {
		r.bytes(r.uvarint())
		r.uvarint()
		r.bytes(r.uvarint())
		if r.bad {
			return errShort
		}
	}
	if len(r.b) > 0 {
		return errShort
	}
	return nil
}

func counted(b []byte) (n, reach uint64, r *reader, _ error) {
	if len(b) < 17 || b[0] != 1 {
		return 0, 0, nil, errors.New("is not of a version that nats-server " + Engine + " writes")
	}
	r = &reader{b: b[1:]}
	n, reach = r.fixed64(), r.fixed64()
	if n > uint64(len(r.b)) || reach > seqMask {
		return 0, 0, nil, errShort
	}
	return n, reach, r, nil
}

// expiry is when a message with these headers, stored at that time, is due; 0 for never.
func expiry(header []byte, stored int64) int64 {
	ttl, ok := field(header, "Nats-TTL")
	if !ok || strings.EqualFold(ttl, "never") {
		return 0
	}
	seconds := int64(0)
	if d, err := time.ParseDuration(ttl); err == nil {
		if d >= time.Second {
			seconds = int64(d.Seconds())
		}
	} else if n, err := strconv.ParseInt(ttl, 10, 64); err == nil {
		seconds = n
	}
	if seconds <= 0 {
		return 0
	}
	return stored + seconds*int64(time.Second)
}

// field is the value of the first header of this name.
func field(header []byte, name string) (string, bool) {
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && k == name {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}
