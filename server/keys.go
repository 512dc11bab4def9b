package server

import (
	"errors"
	"fmt"

	"github.com/deltran/deltran-bus/atrest"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// openKeys holds the store against the declared keys, before nats-server sees it.
func (s *Server) openKeys() (*atrest.Store, error) {
	k := atrest.Keys{Key: s.opts.Load().JetStreamKey, Old: s.oldKey}
	if s.opts.Load().JetStreamCipher == natsserver.AES {
		k.Cipher = atrest.AES
	}
	store, err := atrest.Open(s.opts.Load().StoreDir, k)
	if err == nil {
		return store, nil
	}
	hint := "give every file back to the user that the bus runs as"
	switch {
	case errors.Is(err, atrest.ErrSealed):
		hint = "declare the one that it was made with as [nats.jetstream] key"
	case errors.Is(err, atrest.ErrKey):
		hint = "declare the one that it was made with as [nats.jetstream] key; or as prev_key, beside a new one, to change it"
	case errors.Is(err, atrest.ErrCipher):
		hint = fmt.Sprintf("declare [nats.jetstream] cipher = %q; it cannot be changed", (1 - k.Cipher).String())
	case errors.Is(err, atrest.ErrPlain):
		hint = "nats-server would encrypt it and lose the streams that are empty. Back it up with deltran-bus backup create, and restore that to a bus with the key and a new store_dir"
	}
	return nil, fmt.Errorf("%w; nothing was changed: %s", err, hint)
}

// changeKey makes the declared key the only one that opens the store.
func (s *Server) changeKey(store *atrest.Store) error {
	n, err := store.Rewrap()
	if err != nil {
		return fmt.Errorf("the key is being changed: %w; start again with both keys", err)
	}
	if n > 0 {
		s.log.Info("the key of the store was changed; prev_key can be taken out of the configuration", "files", n)
	}
	return nil
}
