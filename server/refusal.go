package server

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Refusal is something that nats-server did not let a client do.
type Refusal struct {
	Client  uint64 // the connection's id
	Address string // HOST:PORT
	User    string // as it tried to log in, where it did; never a token
	Reason  string // why the client was rejected; empty for something that it may not
	Action  string // what it may not: publish, subscribe or reply
	Subject string // where
}

// OnRefusal has refusals told. tell is called by what serves the client: it must not wait, nor ask nats-server.
func OnRefusal(tell func(Refusal)) Option { return func(s *Server) { s.sink.refused = tell } }

// nats-server has no event of a permission that was denied, and of a client that was rejected only one that needs an account
// of the system to be heard. All of them it logs, in lines that begin with the client: its address and id, and in quotes
// what it calls itself.
var (
	clientLine   = regexp.MustCompile(`(?s)^(\S+) - (?:cid|wid|mid|mid_ws):(\d+)((?: - "(?:[^"\\]|\\.)*")*) - (.*)$`)
	subscription = regexp.MustCompile(`(?s)^Subscription Violation(?: Too Many Tokens)? - Subject "((?:[^"\\]|\\.)*)"`)
)

// readRefusal reads an error that nats-server logs as f with a; false for what is none.
func readRefusal(f string, a []any) (r Refusal, ok bool) {
	if f == "%s - %s%s" && len(a) == 3 { // one that is logged once for all clients
		f, a = fmt.Sprintf(f, a...), nil
	}
	m := clientLine.FindStringSubmatch(f)
	if m == nil {
		return r, false
	}
	r.Address = m[1]
	r.Client, _ = strconv.ParseUint(m[2], 10, 64)
	arg := func(i int) string {
		if i >= len(a) {
			return ""
		}
		if b, ok := a[i].([]byte); ok {
			return string(b)
		}
		return fmt.Sprint(a[i])
	}
	switch what := m[4]; {
	case what == "Publish Violation - Subject %q":
		r.Action, r.Subject = "publish", arg(0)
	case what == "Publish Violation - Reply %q":
		r.Action, r.Subject = "reply", arg(0)
	case strings.HasPrefix(what, "Subscription Violation"):
		r.Action = "subscribe"
		if m := subscription.FindStringSubmatch(what); m != nil {
			r.Subject = m[1]
		}
	case what == natsserver.ErrAuthentication.Error():
		r.Reason = what
	case what == "%v - %s" && arg(0) == natsserver.ErrAuthentication.Error():
		r.Reason, r.User = arg(0), plainUser(arg(1))
	case what == "TLS handshake error: %v%s":
		r.Reason = "TLS handshake: " + arg(0)
	case strings.HasPrefix(what, natsserver.ErrTooManyConnections.Error()):
		r.Reason = natsserver.ErrTooManyConnections.Error()
	case strings.HasPrefix(what, natsserver.ErrTooManyAccountConnections.Error()):
		r.Reason = natsserver.ErrTooManyAccountConnections.Error()
	default:
		return r, false
	}
	return r, true
}

// plainUser is the user of nats-server's words for one, such as User "x" and Nkey "U…".
func plainUser(s string) string {
	if s == `User "N/A"` {
		return ""
	}
	if _, quoted, ok := strings.Cut(s, " "); ok {
		if u, err := strconv.Unquote(quoted); err == nil {
			return u
		}
	}
	return s
}

// Conn is a connection that there is, or was a moment ago.
type Conn struct {
	Account string
	User    string
	Name    string // as the client calls itself
	Address string // HOST:PORT
}

// Conn tells who a connection is or was; false if nats-server has forgotten it. Between the two it is nowhere for a
// moment: nats-server lists it among the closed ones behind the back of what closes it.
func (s *Server) Conn(id uint64) (Conn, bool) {
	n := s.NATS()
	if n == nil {
		return Conn{}, false
	}
	for range 20 {
		if c, ok := connOf(n, id); ok {
			return c, true
		}
		time.Sleep(time.Millisecond)
	}
	return Conn{}, false
}

func connOf(n *natsserver.Server, id uint64) (Conn, bool) {
	z, err := n.Connz(&natsserver.ConnzOptions{CID: id, Username: true, State: natsserver.ConnAll})
	if err != nil || len(z.Conns) != 1 {
		return Conn{}, false
	}
	c := z.Conns[0]
	return Conn{c.Account, c.AuthorizedUser, c.Name, net.JoinHostPort(c.IP, strconv.Itoa(c.Port))}, true
}
