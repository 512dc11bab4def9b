// Package atrest holds the keys of an encrypted store against the declared one before nats-server opens it, and changes
// the store's key.
//
// nats-server encrypts every file of a store with a random key of its own, and keeps that key in a file beside it, wrapped
// with what it derives from the declared key. To change the declared key is to wrap those anew; no data is written. Its own
// way (2.15) is another one, and loses: a start with the old key beside the new one, as well as one with another cipher,
// deletes every stream that is empty, and forgets every consumer; a plain store that is started with a key loses its empty
// streams at the start after that. So it is never given an old key, and is kept from the other two.
package atrest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Cipher is how nats-server encrypts.
type Cipher int

// The ciphers; ChaCha is nats-server's own default.
const (
	ChaCha Cipher = iota
	AES
)

func (c Cipher) String() string {
	if c == AES {
		return "aes"
	}
	return "chacha"
}

// Keys are what is declared.
type Keys struct {
	Cipher Cipher
	Key    string // empty: the store is not encrypted
	Old    string // the key before, whose files are wrapped anew; empty: none
}

// What is wrong with a store. Nothing has been written then.
var (
	// ErrSealed: the store is encrypted, and no key is declared.
	ErrSealed = errors.New("is encrypted, and no key is declared")
	// ErrPlain: the store is not encrypted, or not all of it, and a key is declared.
	ErrPlain = errors.New("is not encrypted, and a key is declared")
	// ErrKey: no declared key opens it.
	ErrKey = errors.New("is encrypted with another key")
	// ErrCipher: the key is right, and the cipher is not the declared one.
	ErrCipher = errors.New("is encrypted with another cipher")
)

// A Store is one that the keys open.
type Store struct {
	dir  string
	keys Keys
	anew []wrap // what only the old key opens
}

// Open looks whether the keys open every file of the store. It writes nothing.
func Open(dir string, k Keys) (*Store, error) {
	all, plain, err := find(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, keys: k}
	switch {
	case k.Key == "" && len(all) > 0:
		return nil, fmt.Errorf("%s: %w", all[0].in(dir), ErrSealed)
	case k.Key == "":
		return s, nil
	case len(plain) > 0:
		return nil, fmt.Errorf("stream %s: %w", some(plain), ErrPlain)
	}
	for _, f := range all {
		w, err := f.open(k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.in(dir), err)
		}
		if w.old {
			s.anew = append(s.anew, w)
		}
	}
	return s, nil
}

// Rewrap wraps anew what only the old key opens, so that the declared one alone opens the store, and returns how many files
// those were. Cut off in between, the store needs both, and the next Rewrap goes on.
func (s *Store) Rewrap() (int, error) {
	for i, w := range s.anew {
		if err := w.write(s.dir, s.keys); err != nil {
			return i, fmt.Errorf("%s: %w", w.in(s.dir), err)
		}
	}
	return len(s.anew), nil
}

func some(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return strings.Join(names, ", ")
}

// file is one that holds a wrapped key.
type file struct {
	path    string
	context string // what nats-server derives the wrapping from, beside the declared key
}

// in is the file's name within the store.
func (f file) in(store string) string {
	if rel, err := filepath.Rel(store, f.path); err == nil {
		return rel
	}
	return f.path
}

// wrap is a file that was opened.
type wrap struct {
	file
	nonce, seed []byte
	old         bool // with the old key
}

// open unwraps with the declared key, or else the old one.
func (f file) open(k Keys) (wrap, error) {
	sealed, err := os.ReadFile(f.path)
	if err != nil {
		return wrap{}, plainPath(err)
	}
	for _, try := range []struct {
		key    string
		cipher Cipher
		old    bool
		err    error
	}{
		{k.Key, k.Cipher, false, nil},
		{k.Old, k.Cipher, true, nil},
		{k.Key, 1 - k.Cipher, false, ErrCipher},
		{k.Old, 1 - k.Cipher, true, ErrCipher},
	} {
		if try.key == "" {
			continue
		}
		aead, err := aead(try.cipher, try.key, f.context)
		if err != nil {
			return wrap{}, err
		}
		if n := aead.NonceSize(); len(sealed) > n {
			if seed, err := aead.Open(nil, sealed[:n], sealed[n:], nil); err == nil {
				return wrap{f, sealed[:n], seed, try.old}, try.err
			}
		}
	}
	return wrap{}, ErrKey
}

// aead is what nats-server wraps a key with.
func aead(c Cipher, key, context string) (cipher.AEAD, error) {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(context))
	if c == ChaCha {
		return chacha20poly1305.NewX(h.Sum(nil))
	}
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithNonceSize(block, block.BlockSize())
}

// write wraps anew, and replaces the file in one step. The nonce stays: nats-server encrypts the messages with it as well.
// With another key that is no nonce used twice.
func (w wrap) write(store string, k Keys) error {
	aead, err := aead(k.Cipher, k.Key, w.context)
	if err != nil {
		return err
	}
	temp := filepath.Join(store, "deltran-bus.rekey")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return plainPath(err)
	}
	_, err = f.Write(aead.Seal(w.nonce[:len(w.nonce):len(w.nonce)], w.nonce, w.seed, nil))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, w.path)
	}
	if err != nil {
		return errors.Join(plainPath(err), os.Remove(temp))
	}
	return syncDir(filepath.Dir(w.path))
}
