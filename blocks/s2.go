package blocks

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
)

// A compressed block is "cmp", 1 for S2, the decompressed length, an S2 stream of all records without the last one's
// checksum, and that checksum. The stream is chunks with a checksum each, so that the others can be read when one cannot.

const (
	mostChunk = 4 << 20 // decompressed

	chunkCompressed   = 0x00
	chunkUncompressed = 0x01
	chunkPadding      = 0xfe
	chunkIndex        = 0x99
	chunkIdentifier   = 0xff
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk is where a part of a decompressed block comes from.
type chunk struct {
	at   int   // in the decompressed block
	file int64 // in the file
	err  error // it could not be read, and is left out
}

func compressed(b []byte) bool {
	return len(b) >= 5 && bytes.HasPrefix(b, []byte("cmp\x01"))
}

// decompress appends the block to dst. There is always at least one chunk; a damaged one is left out, and named.
func decompress(dst, b []byte) (_ []byte, chunks []chunk) {
	bad := func(at int64, f string, a ...any) {
		chunks = append(chunks, chunk{len(dst), at, fmt.Errorf(f, a...)})
	}
	size, n := binary.Uvarint(b[4:])
	if n <= 0 || len(b) < 4+n+sumSize {
		bad(0, "the head of the compressed block is cut short")
		return dst, chunks
	}
	at, end := 4+n, len(b)-sumSize
	for at < end {
		if end-at < 4 {
			bad(int64(at), "the last compressed chunk is cut short")
			break
		}
		kind, length := b[at], int(b[at+1])|int(b[at+2])<<8|int(b[at+3])<<16
		if length > end-at-4 {
			bad(int64(at), "compressed chunk of %d bytes, and %d are left", length, end-at-4)
			break
		}
		body := b[at+4 : at+4+length]
		switch kind {
		case chunkCompressed, chunkUncompressed:
			out, err := unpack(dst, kind, body)
			chunks = append(chunks, chunk{len(dst), int64(at), err})
			dst = out
		case chunkIdentifier:
			if string(body) != "S2sTwO" {
				bad(int64(at), "the head of the S2 stream is not one")
			}
		case chunkPadding, chunkIndex:
		default:
			bad(int64(at), "compressed chunk of kind %#x", kind)
		}
		at += 4 + length
		if len(dst) > mostBlock {
			bad(int64(at), "more than %d bytes in one block", mostBlock)
			return dst[:mostBlock], chunks
		}
	}
	dst = append(dst, b[end:]...)
	if !damaged(chunks) && uint64(len(dst)) != size {
		bad(4, "decompressed it has %d bytes, and says %d", len(dst), size)
	}
	return dst, chunks
}

func unpack(dst []byte, kind byte, body []byte) ([]byte, error) {
	if len(body) < 4 {
		return dst, fmt.Errorf("compressed chunk of %d bytes", len(body))
	}
	sum, body, from := binary.LittleEndian.Uint32(body), body[4:], len(dst)
	out := dst
	if kind == chunkUncompressed {
		out = append(out, body...)
	} else {
		n, err := s2.DecodedLen(body)
		if err != nil || n > mostChunk {
			return dst, fmt.Errorf("compressed chunk: its length cannot be")
		}
		out = grow(out, n)
		part, err := s2.Decode(out[from:from+n:from+n], body)
		if err != nil {
			return dst, fmt.Errorf("compressed chunk: %w", err)
		}
		out = out[:from+len(part)]
	}
	c := crc32.Checksum(out[from:], castagnoli)
	if (c>>15|c<<17)+0xa282ead8 != sum {
		return dst, fmt.Errorf("compressed chunk: its checksum does not match")
	}
	return out, nil
}

func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, max(2*cap(b), len(b)+n)), b...)
}

func damaged(chunks []chunk) bool {
	for _, c := range chunks {
		if c.err != nil {
			return true
		}
	}
	return false
}
