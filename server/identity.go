package server

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// identity is how the bus itself logs in where clients have to: with a key made for this process, taken from nobody
// but this process.
type identity struct {
	once   sync.Once
	pair   nkeys.KeyPair
	public string
	asked  atomic.Bool // whether clients have to log in now
}

// use says which options are in force: whether there is anything to log in to.
func (id *identity) use(o *natsserver.Options) { id.asked.Store(len(o.Nkeys) > 0) }

// make makes the key, once, when it is first needed.
func (id *identity) make() (err error) {
	id.once.Do(func() { err = id.generate() })
	return err
}

func (id *identity) generate() error {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return fmt.Errorf("own identity: %w", err)
	}
	id.pair = pair
	if id.public, err = pair.PublicKey(); err != nil {
		return fmt.Errorf("own identity: %w", err)
	}
	return nil
}

// login presents the identity; without authentication NATS asks for none.
func (id *identity) login() nats.Option {
	if !id.asked.Load() {
		return func(*nats.Options) error { return nil }
	}
	return nats.Nkey(id.public, id.pair.Sign)
}

// admit adds the identity to those that the options let in, if clients have to log in at all. It sees and does
// everything in the account of the streams, as the bus has to.
func (id *identity) admit(o *natsserver.Options) error {
	if len(o.Users)+len(o.Nkeys) == 0 && o.Username == "" && o.Authorization == "" && o.AuthCallout == nil {
		return nil
	}
	if err := id.make(); err != nil {
		return err
	}
	o.Nkeys = append(o.Nkeys, &natsserver.NkeyUser{
		Nkey:                   id.public,
		AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
	})
	if o.AuthCallout != nil {
		o.AuthCallout.AuthUsers = append(o.AuthCallout.AuthUsers, id.public)
	}
	return nil
}
