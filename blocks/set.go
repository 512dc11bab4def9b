package blocks

import (
	"encoding/binary"
	"errors"
	"iter"
	"maps"
	"math/bits"
	"slices"
)

// Set is a set of sequences: a bit for each where they are dense.
type Set struct {
	nodes map[uint64]*node
	n     int
	last  *node // of the last look-up: sequences come in order
	at    uint64
}

const perNode = 2048

type node [perNode / 64]uint64

func (s *Set) node(seq uint64, make_ bool) *node {
	base := seq / perNode
	if s.last != nil && s.at == base {
		return s.last
	}
	n := s.nodes[base]
	if n == nil {
		if !make_ {
			return nil
		}
		if s.nodes == nil {
			s.nodes = map[uint64]*node{}
		}
		n = new(node)
		s.nodes[base] = n
	}
	s.last, s.at = n, base
	return n
}

// Add reports whether it was not there.
func (s *Set) Add(seq uint64) bool {
	word, bit := &s.node(seq, true)[seq%perNode/64], uint64(1)<<(seq%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	s.n++
	return true
}

func (s *Set) Has(seq uint64) bool {
	if s == nil {
		return false
	}
	n := s.node(seq, false)
	return n != nil && n[seq%perNode/64]>>(seq%64)&1 != 0
}

// Len is how many there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.n
}

// common is how many both sets have.
func (s *Set) common(other *Set) (n int) {
	for base, a := range s.nodes {
		if b := other.nodes[base]; b != nil {
			for i := range a {
				n += bits.OnesCount64(a[i] & b[i])
			}
		}
	}
	return n
}

// Range is sequences, both ends included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Missing yields what of r is in none of the sets, in order.
func Missing(r Range, sets ...*Set) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		var bases []uint64
		for _, s := range sets {
			if s != nil {
				bases = slices.AppendSeq(bases, maps.Keys(s.nodes))
			}
		}
		slices.Sort(bases)
		from := r.First // of the gap that is open
		for _, base := range slices.Compact(bases) {
			for i := range perNode / 64 {
				var word uint64
				for _, s := range sets {
					if s != nil && s.nodes[base] != nil {
						word |= s.nodes[base][i]
					}
				}
				for word != 0 {
					seq := base*perNode + uint64(i*64+bits.TrailingZeros64(word))
					word &= word - 1
					if seq < from {
						continue
					}
					if seq > r.Last {
						break
					}
					if seq > from && !yield(Range{from, seq - 1}) {
						return
					}
					if seq == r.Last {
						return
					}
					from = seq + 1
				}
			}
		}
		if from <= r.Last {
			yield(Range{from, r.Last})
		}
	}
}

var errSet = errors.New("set of sequences")

// decodeSet reads a set as nats-server's avl package writes it: 22, version, number of nodes and of sequences, and each
// node with its first sequence, 2048 bits (4096 in version 1) and its height in the tree.
func decodeSet(b []byte) (_ *Set, size int, _ error) {
	if len(b) < 10 || b[0] != 22 || b[1] != 1 && b[1] != 2 {
		return nil, 0, errSet
	}
	words := 32
	if b[1] == 1 {
		words = 64
	}
	nodes, count := uint64(binary.LittleEndian.Uint32(b[2:])), int(binary.LittleEndian.Uint32(b[6:]))
	one := words*8 + 10
	if nodes > uint64((len(b)-10)/one) {
		return nil, 0, errSet
	}
	s, size := &Set{}, 10
	for range nodes {
		base := binary.LittleEndian.Uint64(b[size:])
		if base%64 != 0 || base > seqMask {
			return nil, 0, errSet
		}
		for i := range words {
			word := binary.LittleEndian.Uint64(b[size+8+i*8:])
			if word == 0 {
				continue
			}
			seq := base + uint64(i)*64
			s.node(seq, true)[seq%perNode/64] |= word
			s.n += bits.OnesCount64(word)
		}
		size += one
	}
	if s.n != count {
		return nil, 0, errSet
	}
	return s, size, nil
}
