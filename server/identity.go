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
	asked atomic.Bool // whether clients have to log in now
}

// ownKey is made once, when it is first needed: a connection that outlives its server is let in by the next one in the
// same process.
var ownKey = sync.OnceValues(func() (key struct {
	pair   nkeys.KeyPair
	public string
}, err error) {
	if key.pair, err = nkeys.CreateUser(); err == nil {
		key.public, err = key.pair.PublicKey()
	}
	if err != nil {
		err = fmt.Errorf("own identity: %w", err)
	}
	return key, err
})

// use says which options are in force: whether there is anything to log in to.
func (id *identity) use(o *natsserver.Options) { id.asked.Store(len(o.Nkeys) > 0) }

// LoginRequired reports whether clients have to log in now.
func (s *Server) LoginRequired() bool { return s.own.asked.Load() }

// login presents the identity, also where nobody has to: who is connected when authentication is switched on stays.
func (id *identity) login() nats.Option {
	key, err := ownKey()
	if err != nil {
		return func(*nats.Options) error { return err }
	}
	return nats.Nkey(key.public, key.pair.Sign)
}

// admit adds the identity to those that the options let in, if clients have to log in at all. It sees and does
// everything in the account of the streams, as the bus has to.
func (id *identity) admit(o *natsserver.Options) error {
	if len(o.Users)+len(o.Nkeys) == 0 && o.Username == "" && o.Authorization == "" && o.AuthCallout == nil {
		return nil
	}
	key, err := ownKey()
	if err != nil {
		return err
	}
	o.Nkeys = append(o.Nkeys, &natsserver.NkeyUser{
		Nkey:                   key.public,
		AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
	})
	if o.AuthCallout != nil {
		o.AuthCallout.AuthUsers = append(o.AuthCallout.AuthUsers, key.public)
	}
	return nil
}
