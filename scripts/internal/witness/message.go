package witness

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
)

// A message is known by its number: all of its bytes follow from that and its size.
type message struct {
	number uint64 // who published it, and a count that grows with every message
	size   int
	sent   int // when
}

const countBits = 48

func (m message) writer() uint64 { return m.number >> countBits }

const (
	sumBytes  = 16
	headBytes = sumBytes + 8
)

// data is the sum of everything behind it, the number, and filling that is like no other message's.
func (m message) data() []byte {
	b := make([]byte, max(m.size, headBytes))
	binary.BigEndian.PutUint64(b[sumBytes:], m.number)
	fill := rand.New(rand.NewPCG(m.number, 0))
	for i := headBytes; i < len(b); i += 8 {
		var word [8]byte
		binary.BigEndian.PutUint64(word[:], fill.Uint64())
		copy(b[i:], word[:])
	}
	sum := sha256.Sum256(b[sumBytes:])
	copy(b, sum[:sumBytes])
	return b
}

var errDamaged = errors.New("its bytes are not those that were published")

// parse finds the message that data is, and that it is whole.
func parse(data []byte) (message, error) {
	if len(data) < headBytes {
		return message{}, fmt.Errorf("%w: %d of them", errDamaged, len(data))
	}
	if sum := sha256.Sum256(data[sumBytes:]); [sumBytes]byte(sum[:sumBytes]) != [sumBytes]byte(data[:sumBytes]) {
		return message{}, errDamaged
	}
	return message{number: binary.BigEndian.Uint64(data[sumBytes:]), size: len(data)}, nil
}

func (m message) same(other message) bool {
	return m.number == other.number && max(m.size, headBytes) == other.size
}
