package backup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash"
	"io"

	"github.com/minio/highwayhash" // which nats-server checks every message in the store with: five to seven times as fast as SHA-256
)

// The seal is the last thing in an archive: an empty gzip member, which every gunzip passes over, whose header carries a
// HighwayHash-256 over all that stands before it, and where the last member with content begins. So no byte of an archive can be
// changed or missing without being noticed, not even those that gzip and tar themselves do not look at.
const sealSize = len(sealHead) + highwayhash.Size + 8 + len(sealTail)

const (
	sealHead = "\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff" + // gzip, with an extra field, no time, system unknown
		"\x2c\x00" + "DC" + "\x28\x00" // of 44 bytes: ours, 40 long
	sealTail = "\x01\x00\x00\xff\xff" + "\x00\x00\x00\x00\x00\x00\x00\x00" // nothing, compressed; its checksum and length
)

var (
	errNoSeal = errors.New("there is no seal: it is cut off, packed anew, or nothing that deltran-bus backup create wrote")
	errSeal   = errors.New("its bytes are not those that were sealed: something was changed")
)

// newHash makes what seals and digests are made with. It tells accidents, not forgers, who could seal anew whatever the hash:
// its key is zeros.
func newHash() hash.Hash {
	h, err := highwayhash.New(make([]byte, highwayhash.Size))
	if err != nil {
		panic(err) // the key is as long as one has to be
	}
	return h
}

// seal is the seal of a file whose content was written to sum, and whose last member begins at last. The place is sealed
// as well.
func seal(sum hash.Hash, last int64) []byte {
	at := binary.BigEndian.AppendUint64(nil, uint64(last))
	sum.Write(at)
	return bytes.Join([][]byte{[]byte(sealHead), sum.Sum(nil), at, []byte(sealTail)}, nil)
}

// opened returns where a seal says that the last member begins.
func opened(b []byte) (last int64, ok bool) {
	if len(b) != sealSize || string(b[:len(sealHead)]) != sealHead || string(b[sealSize-len(sealTail):]) != sealTail {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[len(sealHead)+highwayhash.Size:])), true
}

// unsealed reads what stands before the seal. Where that ends it returns io.EOF only if the seal is this file's.
type unsealed struct {
	r      io.Reader
	sum    hash.Hash
	buf    []byte
	rest   []byte // of buf, read and not given: its end may be the seal
	err    error  // of r; then what Read goes on to return
	judged bool
}

func newUnsealed(r io.Reader) *unsealed {
	return &unsealed{r: r, sum: newHash(), buf: make([]byte, 128<<10)}
}

func (u *unsealed) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(u.rest) <= sealSize && u.err == nil {
		have := copy(u.buf, u.rest)
		var n int
		n, u.err = u.r.Read(u.buf[have:])
		u.rest = u.buf[:have+n]
	}
	if n := min(len(p), len(u.rest)-sealSize); n > 0 {
		copy(p, u.rest[:n])
		u.sum.Write(u.rest[:n])
		u.rest = u.rest[n:]
		return n, nil
	}
	if u.err == io.EOF && !u.judged {
		u.judged, u.err = true, u.judge()
	}
	return 0, u.err
}

func (u *unsealed) judge() error {
	last, ok := opened(u.rest)
	if !ok {
		return bad("its end", "%w", errNoSeal)
	}
	if !bytes.Equal(seal(u.sum, last), u.rest) {
		return bad("the file", "%w", errSeal)
	}
	return io.EOF
}
