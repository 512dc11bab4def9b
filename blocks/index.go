package blocks

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
)

// index is what index.db says that the blocks held when it was written.
type index struct {
	messages, bytes uint64
	first, last     uint64
	blocks          []indexed
	block           uint32 // the last one
	sum             [sumSize]byte
	subjects        tally
}

// indexed is one block: its messages are first to last without the deleted.
type indexed struct {
	number      uint32
	bytes       uint64
	first, last uint64
	deleted     *Set
}

// of is what the index says of a block; of one that it does not know, that it holds nothing.
func (x *index) of(block uint32) (indexed, bool) {
	if x != nil {
		for _, b := range x.blocks {
			if b.number == block {
				return b, true
			}
		}
	}
	return indexed{first: 1}, false
}

// messages is how many there have to be.
func (b indexed) messages() uint64 {
	if b.last < b.first {
		return 0
	}
	n := b.last - b.first + 1
	if d := uint64(b.deleted.Len()); d < n {
		return n - d
	}
	return 0
}

func (b indexed) holds(seq uint64) bool {
	return b.first <= seq && seq <= b.last && !b.deleted.Has(seq)
}

// tally is how many messages of which subjects, in constant memory: two tallies are equal if those are.
type tally struct{ sum, n uint64 }

var seed = maphash.MakeSeed()

func (t *tally) add(subject []byte, n uint64) {
	t.sum += maphash.Bytes(seed, subject) * n
	t.n += n
}

var (
	errSum = errors.New("its checksum does not match")
)

// unseal checks the checksum at the end, which is of what is in the file, encrypted or not.
func unseal(b []byte, name string) ([]byte, error) {
	if len(b) < sumSize {
		return nil, errShort
	}
	body, sum := b[:len(b)-sumSize], b[len(b)-sumSize:]
	h := hasher(name)
	h.Write(body)
	if !bytes.Equal(h.Sum(nil), sum) {
		return nil, errSum
	}
	return body, nil
}

// decodeIndex reads the contents of index.db without the checksum.
func decodeIndex(b []byte) (*index, error) {
	if len(b) < 2 || b[0] != 11 || b[1] < 1 || b[1] > 4 {
		return nil, fmt.Errorf("is not of a version that nats-server %s writes", Engine)
	}
	version, r := b[1], &reader{b: b[2:]}
	x := &index{messages: r.uvarint(), bytes: r.uvarint(), first: r.uvarint()}
	r.varint() // time of the first
	x.last = r.uvarint()
	r.varint() // and of the last

	for range r.count() {
		subject := r.bytes(r.uvarint())
		n := r.uvarint()
		r.uvarint() // first block with it
		if n > 1 || version >= 4 {
			r.uvarint() // last
		}
		if r.bad {
			return nil, errShort
		}
		x.subjects.add(subject, n)
	}
	for range r.count() {
		var d indexed
		d.number, d.bytes, d.first = uint32(r.uvarint()), r.uvarint(), r.uvarint()
		r.varint()
		d.last = r.uvarint()
		r.varint()
		deleted := r.uvarint()
		for range min(version, 3) - 1 { // TTLs, schedules
			r.uvarint()
		}
		if deleted > 0 && !r.bad {
			set, n, err := decodeSet(r.b)
			if err != nil || uint64(set.Len()) != deleted {
				return nil, errShort
			}
			d.deleted = set
			r.bytes(uint64(n))
		}
		if r.bad {
			return nil, errShort
		}
		x.blocks = append(x.blocks, d)
	}
	x.block = uint32(r.uvarint())
	copy(x.sum[:], r.bytes(sumSize))
	if r.bad || len(r.b) > 0 {
		return nil, errShort
	}
	return x, nil
}
