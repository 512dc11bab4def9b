// Package access derives who may do what: from the declared services and streams to the exact rights of each service,
// and why it has them. It is pure; package config makes nats-server's users and accounts of what it returns.
//
// A service without a role, and an observer, has an account of its own. Nothing passes between that account and the one
// of the streams but what is listed in its Grant: each right is a service import of one subject, whose replies come back
// over a subject that nats-server makes for each request. So a reply subject can name nothing that the service could not
// publish to anyhow, and an inbox is nobody else's, whatever it is called. docs/security.md says what that closes.
package access

// A Service is one [[services]] table.
type Service struct {
	Name             string            `json:"name"`              // also its account, and the user of its password
	Password         string            `json:"password"`          // "env:NAME", "file:PATH" or a bcrypt hash
	Users            map[string]string `json:"users"`             // more users and their passwords, as while one is rotated
	NKeys            []string          `json:"nkeys"`             // public user keys, U…
	Certificates     []string          `json:"certificates"`      // subjects, or alternative names, of TLS client certificates
	Role             Role              `json:"role"`              // what it may beside publishing and consuming
	Publishes        []string          `json:"publishes"`         // subjects, as the streams capture them
	Consumes         []string          `json:"consumes"`          // STREAM/CONSUMER
	MaxConnections   int               `json:"max_connections"`   // at once; 0 is [bus] service_connections, -1 no limit
	MaxSubscriptions int               `json:"max_subscriptions"` // of each connection; 0 is [bus] service_subscriptions, -1 no limit
	MaxPayload       int32             `json:"max_payload"`       // bytes of its largest message; 0 is [nats] max_payload
}

// Role is what a service may beside publishing and consuming.
type Role string

// The roles.
const (
	None     Role = ""
	Observer Role = "observer" // reads every stream and consumer, messages included, and changes nothing
	Operator Role = "operator" // plan, apply, backup, restore: all of JetStream's API, and no publishing
	Admin    Role = "admin"    // everything in the account of the streams
)

// Inside reports whether the role works in the account of the streams itself. Whoever may make and delete streams could
// read and write all of them anyhow.
func (r Role) Inside() bool { return r == Operator || r == Admin }

// Stream is what access has to know of a declared stream.
type Stream struct {
	Name      string
	Subjects  []string // that it captures; none for a mirror
	Consumers []Consumer
}

// Consumer is what access has to know of a declared consumer.
type Consumer struct {
	Name        string
	Deliver     string // the subject that it pushes to, empty where it is pulled from
	Acks        bool   // whether what it delivers is acknowledged
	FlowControl bool
}

// A Grant is what one service may do, and nothing else.
type Grant struct {
	Service   string  `json:"service"`
	Role      Role    `json:"role,omitempty"`
	Inside    bool    `json:"inside"`           // in the account of the streams; otherwise in one of its own
	Publish   []Right `json:"publish"`          // subjects that it may publish and send requests to
	Except    []Right `json:"except,omitempty"` // and of those, the ones that it may not
	Subscribe []Right `json:"subscribe"`        // subjects that it may subscribe to
}

// A Right is one subject, and why it is needed.
type Right struct {
	Subject string `json:"subject"`
	Why     string `json:"why"`
	Answers int    `json:"-"` // how a request there is answered
	Shared  bool   `json:"-"` // whether what it subscribes to comes from the account of the streams
}

// How a request is answered.
const (
	Once   = iota // by one message, or not at all
	Often         // by as many as were asked for, over minutes
	Listed        // by a few, at once
)
