package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Dir is the folder, in the store's, that keeps a chain's key and where the chain ended.
const Dir = "deltran-bus.audit"

const (
	keyFile  = "key"
	headFile = "head"
)

// Keeper is what a bus has to itself of its chain: the key, and the last record that it knows to be stored. Whoever may
// write to the stream but cannot read this folder can neither make up a record nor take back the last ones unnoticed.
type Keeper struct {
	dir string // empty: in memory
	key ed25519.PrivateKey
}

// OpenKeeper reads the key of a store, or makes one. Of an empty folder's name it is kept in memory.
func OpenKeeper(store string) (*Keeper, error) {
	k := &Keeper{}
	if store != "" {
		k.dir = filepath.Join(store, Dir)
		key, err := readKey(k.dir)
		if err == nil {
			k.key = key
			return k, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the key of the audit trail: %w", err)
		}
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	k.key = key
	if k.dir == "" {
		return k, nil
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("the key of the audit trail: %w", err)
	}
	if err := replace(filepath.Join(k.dir, keyFile), []byte(hex.EncodeToString(key.Seed())+"\n"), true); err != nil {
		return nil, fmt.Errorf("the key of the audit trail: %w", err)
	}
	return k, nil
}

func readKey(dir string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize { // what it says stays with it
		return nil, fmt.Errorf("%s does not hold one; put it back, or remove the file: then a new chain begins", filepath.Join(dir, keyFile))
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// Key is the chain's name, which is the public key.
func (k *Keeper) Key() string { return keyName(k.key.Public().(ed25519.PublicKey)) }

// Head is the end of a chain as its keeper remembers it. A crash may leave it one record behind.
type Head struct {
	Key      string `json:"key"`
	Number   uint64 `json:"number"`
	Sequence uint64 `json:"sequence"` // in the stream
	Hash     string `json:"hash"`
}

// ReadHead is how the chain of a store ended; fs.ErrNotExist where there is none.
func ReadHead(store string) (h Head, err error) {
	key, err := readKey(filepath.Join(store, Dir))
	if err != nil {
		return h, err
	}
	h, err = (&Keeper{dir: filepath.Join(store, Dir)}).head()
	if h.Key == "" || errors.Is(err, fs.ErrNotExist) {
		h = Head{Key: keyName(key.Public().(ed25519.PublicKey))}
		err = nil
	}
	return h, err
}

func (k *Keeper) head() (h Head, err error) {
	if k.dir == "" {
		return h, nil
	}
	b, err := os.ReadFile(filepath.Join(k.dir, headFile))
	if err != nil {
		return h, err
	}
	if json.Unmarshal(b, &h) != nil { // it is not synced: a power cut may take it
		return Head{}, nil
	}
	return h, nil
}

func (k *Keeper) remember(h Head) error {
	if k.dir == "" {
		return nil
	}
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return replace(filepath.Join(k.dir, headFile), append(b, '\n'), false)
}

// replace writes a file whole or not at all.
func replace(path string, content []byte, sync bool) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
