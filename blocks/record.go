package blocks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/minio/highwayhash"
)

// Kind of a record.
type Kind uint8

const (
	Message   Kind = iota
	Erased         // a message was here, and was overwritten; or a sequence was skipped
	Tombstone      // says that the message of this sequence, written before, is deleted
)

// Record is one entry of a block. The slices are only good until the next record is read.
type Record struct {
	Seq     uint64
	Time    int64 // unix nanoseconds
	Kind    Kind
	Subject []byte
	Header  []byte
	Payload []byte
	Block   uint32
	Offset  int64 // in the block, decompressed
}

const (
	prefixSize = 22       // length, sequence, time, subject length
	sumSize    = 8        // at the end of each record
	leastSize  = 30       // of a record
	mostSize   = 32 << 20 // of a record, as nats-server has it
	mostBlock  = 64 << 20 // of a block: nats-server begins a new one at 8 MB, and one message fits in any

	headerBit    = 1 << 31
	erasedBit    = 1 << 63
	tombstoneBit = 1 << 62
	seqMask      = tombstoneBit - 1
)

// fault is why there is no record at a place.
type fault uint8

const (
	sound    fault = iota
	short          // too few bytes are left for any record
	overrun        // more bytes than are left
	misshape       // lengths that cannot be
	changed        // checksum
	border         // the checksum is right, a length outside of it is not
)

func (f fault) what() What {
	switch f {
	case changed:
		return Checksum
	case border:
		return Boundary
	}
	return Malformed
}

// decoder knows one block's key.
type decoder struct {
	hash *highwayhash.Digest64
	sum  [sumSize]byte
}

func newDecoder(stream string, block uint32) *decoder {
	return &decoder{hash: hasher(fmt.Sprintf("%s-%d", stream, block))}
}

// hasher is nats-server's checksum of what has this name.
func hasher(name string) *highwayhash.Digest64 {
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		panic(err) // of a key that is not 32 bytes long
	}
	return h
}

// read is the record at the start of b, with the bytes it takes; with a fault those are as far as they can be told, or 0.
func (d *decoder) read(b []byte, r *Record) (size int, _ fault) {
	if len(b) < leastSize {
		return 0, short
	}
	length := binary.LittleEndian.Uint32(b)
	seq := binary.LittleEndian.Uint64(b[4:])
	subject := int(binary.LittleEndian.Uint16(b[20:]))
	headers := length&headerBit != 0
	length &^= headerBit
	fixed := leastSize + subject
	if headers {
		fixed += 4
	}
	switch {
	case length > mostSize || int(length) < fixed:
		return 0, misshape
	case int(length) > len(b):
		return 0, overrun
	}
	size = int(length)
	body, sum := b[prefixSize:size-sumSize], b[size-sumSize:size]
	d.hash.Reset()
	d.hash.Write(b[4:20])
	if headers {
		d.hash.Write(body[:subject])
		d.hash.Write(body[subject+4:])
	} else {
		d.hash.Write(body)
	}
	if !bytes.Equal(d.hash.Sum(d.sum[:0]), sum) {
		return size, changed
	}

	*r = Record{Seq: seq & seqMask, Time: int64(binary.LittleEndian.Uint64(b[12:])), Subject: body[:subject], Payload: body[subject:]}
	switch {
	case seq&tombstoneBit != 0:
		r.Kind = Tombstone
		return size, sound
	case seq&erasedBit != 0 || seq == 0:
		r.Kind = Erased // the rest is noise, or nothing
		r.Subject, r.Payload = nil, nil
		return size, sound
	}
	if headers {
		n := int64(binary.LittleEndian.Uint32(r.Payload))
		rest := r.Payload[4:]
		if n > int64(len(rest)) {
			return size, border
		}
		r.Header, r.Payload = rest[:n], rest[n:]
		if moved(rest, int(n)) {
			return size, border
		}
	}
	// What a client sends has no blanks in its subject: they separate it from what follows.
	if subject == 0 || bytes.ContainsAny(r.Subject, " \t\r\n") {
		return size, border
	}
	return size, sound
}

// moved reports whether headers are there, and end somewhere else than after n bytes. What is no headers at all is what a
// client sent.
func moved(rest []byte, n int) bool {
	if !bytes.HasPrefix(rest, []byte("NATS/1.0")) {
		return false
	}
	end := bytes.Index(rest, []byte("\r\n\r\n"))
	return end >= 0 && end+4 != n
}
