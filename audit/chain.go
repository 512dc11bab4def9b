package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// The headers by which a record is a link of its chain.
const (
	headNumber   = "Deltran-Audit-Number"   // 1, 2, 3, …
	headPrevious = "Deltran-Audit-Previous" // the hash of the one before, in hex; of zeros for the first
	headKey      = "Deltran-Audit-Key"      // the public key of who keeps the chain, which is its name
	headSeal     = "Deltran-Audit-Seal"     // the signature of the record's own hash
)

// hash is of everything that a record says.
type hash [sha256.Size]byte

func (h hash) String() string { return hex.EncodeToString(h[:]) }

// link is a record's place in its chain.
type link struct {
	key      string // of the chain
	number   uint64
	previous hash
	hash     hash // its own
	seal     []byte
}

func newHash(key string, number uint64, previous hash, subject string, payload []byte) (h hash) {
	sum := sha256.New()
	fmt.Fprintf(sum, "deltran-bus audit 1\n%s\n%d\n%s\n%s\n", key, number, previous, subject)
	sum.Write(payload)
	copy(h[:], sum.Sum(nil))
	return h
}

func keyName(public ed25519.PublicKey) string { return base64.RawURLEncoding.EncodeToString(public) }

// after is the link that follows, for a record.
func (l link) after(key ed25519.PrivateKey, subject string, payload []byte) link {
	name := keyName(key.Public().(ed25519.PublicKey))
	next := link{key: name, number: l.number + 1, previous: l.hash}
	next.hash = newHash(name, next.number, next.previous, subject, payload)
	next.seal = ed25519.Sign(key, next.hash[:])
	return next
}

func (l link) header(h nats.Header) {
	h[headNumber] = []string{strconv.FormatUint(l.number, 10)}
	h[headPrevious] = []string{l.previous.String()}
	h[headKey] = []string{l.key}
	h[headSeal] = []string{base64.RawURLEncoding.EncodeToString(l.seal)}
}

// readLink reads a message's place; chained is false for one that is in no chain.
func readLink(subject string, h nats.Header, payload []byte) (l link, chained bool, err error) {
	if h.Get(headKey) == "" && h.Get(headNumber) == "" && h.Get(headSeal) == "" && h.Get(headPrevious) == "" {
		return l, false, nil
	}
	l.key = h.Get(headKey)
	public, err := base64.RawURLEncoding.DecodeString(l.key)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return l, true, fmt.Errorf("%s is no key", headKey)
	}
	if l.number, err = strconv.ParseUint(h.Get(headNumber), 10, 64); err != nil || l.number == 0 {
		return l, true, fmt.Errorf("%s is no number", headNumber)
	}
	previous, err := hex.DecodeString(h.Get(headPrevious))
	if err != nil || len(previous) != len(l.previous) {
		return l, true, fmt.Errorf("%s is no hash", headPrevious)
	}
	copy(l.previous[:], previous)
	if l.seal, err = base64.RawURLEncoding.DecodeString(h.Get(headSeal)); err != nil {
		return l, true, fmt.Errorf("%s is no signature", headSeal)
	}
	l.hash = newHash(l.key, l.number, l.previous, subject, payload)
	if !ed25519.Verify(public, l.hash[:], l.seal) {
		return l, true, fmt.Errorf("what it says is not what was signed")
	}
	return l, true, nil
}
