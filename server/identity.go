package server

import (
	"fmt"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// identity is how the bus itself logs in where clients have to: with a key made for this process, taken from nobody
// but this process.
type identity struct {
	pair   nkeys.KeyPair
	public string
}

func newIdentity() (*identity, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("own identity: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("own identity: %w", err)
	}
	return &identity{pair, public}, nil
}

// login presents the identity; without authentication NATS asks for none.
func (id *identity) login() nats.Option {
	if id == nil {
		return func(*nats.Options) error { return nil }
	}
	return nats.Nkey(id.public, id.pair.Sign)
}

// admit adds the identity to those that the options let in, if clients have to log in at all. It sees and does
// everything in the account of the streams, as the bus has to.
func (id *identity) admit(o *natsserver.Options) {
	o.Nkeys = append(o.Nkeys, &natsserver.NkeyUser{
		Nkey:                   id.public,
		AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
	})
	if o.AuthCallout != nil {
		o.AuthCallout.AuthUsers = append(o.AuthCallout.AuthUsers, id.public)
	}
}

// authenticates reports whether clients have to log in.
func authenticates(o *natsserver.Options) bool {
	return len(o.Users)+len(o.Nkeys) > 0 || o.Username != "" || o.Authorization != "" || o.AuthCallout != nil
}
