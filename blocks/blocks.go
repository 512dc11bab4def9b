// Package blocks reads the files in which nats-server keeps one stream, without nats-server, and says what in them is
// damaged. It never writes, and believes nothing that it reads: lengths and counts are bounds to be checked.
//
// The folder of a stream, as nats-server lays it out below <store_dir>/jetstream/<account>/streams/<stream>:
//
//	meta.inf, meta.sum           its description, JSON, and the checksum of that; meta.key where the store is encrypted
//	msgs/N.blk                   its messages, in blocks of up to some MB; N.key beside them where they are encrypted
//	msgs/index.db                what the blocks held when it was written: at a clean stop, and every two minutes or so
//	msgs/thw.db, sched.db        when messages with a TTL or a schedule are due
//	sources.db                   how far the streams it draws from have been read
//	obs/C/meta.inf, meta.sum     the description of consumer C
//	obs/C/o.dat                  how far C has delivered and acknowledged; nothing protects it
//	batches/B/…                  atomic batches under way, each a small stream of its own
//	__msgs__/, __new_msgs__/     a purge under way
//	*.tmp, N.new, _test_*        a file that was being replaced when the process ended
//
// A block is records one after the other: length (4 bytes, the top bit: has headers), sequence (8; bit 63: erased, bit
// 62: the record is a tombstone, which says that the message of this sequence is deleted), time (8, nanoseconds),
// subject length (2), subject, and with headers their length (4) and they, payload, checksum (8: HighwayHash-64 of
// sequence, time, subject, headers and payload, keyed by stream and block). No length is in the checksum: one that
// moved shows because the checksum is somewhere else then, except the border between subject and payload of a message
// without headers, and the length of the headers.
//
// The format is an implementation detail of nats-server. What is here was read in the source of one version, named by
// Engine; For answers with an error for every other.
package blocks

import (
	"errors"
	"fmt"
)

// Engine is the version of nats-server whose files this package was checked against.
const Engine = "2.15.2"

// ErrEngine: the store belongs to a nats-server that this package does not know.
var ErrEngine = errors.New("its file format was not checked")

// Reader reads the files of the version it was made for.
type Reader struct{}

// For is the reader for the files of nats-server version, or an error that is ErrEngine.
func For(version string) (Reader, error) {
	if version != Engine {
		return Reader{}, fmt.Errorf("nats-server %s: %w (known is %s): damage in its store is not looked for", version, ErrEngine, Engine)
	}
	return Reader{}, nil
}

// What nats-server 2.15.2 calls the files.
const (
	msgsDir     = "msgs"
	purgedDir   = "__msgs__"
	newMsgsDir  = "__new_msgs__"
	consumerDir = "obs"
	batchDir    = "batches"
	metaFile    = "meta.inf"
	sumFile     = "meta.sum"
	keyFile     = "meta.key"
	stateFile   = "o.dat"
	indexFile   = "index.db"
	ttlFile     = "thw.db"
	schedFile   = "sched.db"
	sourcesFile = "sources.db"
	blockExt    = ".blk"
	keyExt      = ".key"
)
