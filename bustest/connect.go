package bustest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Disconnect drops clients as a broken network does; without one it drops all of them, whatever way they came, Conn too.
// It returns when the bus has let go of them. What they do about it is up to their options: nats.go comes back after
// two seconds, Conn and those of Connect after a millisecond.
func (b *Bus) Disconnect(clients ...*nats.Conn) {
	b.helper()()
	s := b.server()
	if len(clients) == 0 {
		disconnectAll(s, b.watch.client())
		return
	}
	for _, nc := range clients {
		id, err := nc.GetClientID()
		if err != nil {
			b.fatalf("Disconnect: %v", err)
		}
		if nc.ConnectedServerId() != s.NATS().ID() {
			b.fatalf("Disconnect: %q is not connected to this bus", nc.Opts.Name)
		}
		_ = s.NATS().DisconnectClientByID(id) // an error: it has just left
	}
}

// disconnectAll drops every client but one.
func disconnectAll(s *server.Server, but uint64) {
	n := s.NATS()
	if n == nil {
		return
	}
	for offset := 0; ; {
		page, err := n.Connz(&natsserver.ConnzOptions{Offset: offset})
		if err != nil || len(page.Conns) == 0 {
			return
		}
		offset = 0
		for _, c := range page.Conns {
			if c.Cid == but || n.DisconnectClientByID(c.Cid) != nil {
				offset++
			}
		}
		if offset == len(page.Conns) {
			return
		}
	}
}

// InProcessConn is how nats.go connects in the process; by way of the core a connection finds the bus again after a
// restart, and only when its layout stands.
func (c *core) InProcessConn() (net.Conn, error) {
	s := c.gate.Load()
	if s == nil {
		return nil, errors.New("bustest: the bus is not open")
	}
	return s.NATS().InProcessConn()
}

// connect opens a connection that is closed with the bus.
func (c *core) connect(opts ...nats.Option) (*nats.Conn, error) {
	if c.gate.Load() == nil {
		return nil, errors.New("the bus is closed")
	}
	all := []nats.Option{nats.Name("bustest"), nats.InProcessServer(c), nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, err error) { // in place of standard error
			fmt.Fprintf(c.log, "connection %q: %v\n", nc.Opts.Name, err)
		})}
	all = append(append(all, opts...), ownLogin)
	nc, err := c.server().Connect(all...)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, nc)
	return nc, nil
}

// ownLogin drops the key of the bus where somebody logs in otherwise: the server would look at the key alone.
func ownLogin(o *nats.Options) error {
	if o.User != "" || o.Token != "" || o.TokenHandler != nil || o.UserInfo != nil {
		o.Nkey, o.SignatureCB = "", nil
	}
	return nil
}

// shared is Conn's connection.
func (c *core) shared() (*nats.Conn, error) {
	c.mu.Lock()
	nc := c.conn
	c.mu.Unlock()
	if nc != nil && !nc.IsClosed() {
		return nc, nil
	}
	nc, err := c.connect()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.conn.IsClosed() {
		c.conn = nc
	} else {
		go nc.Close() // another was faster
	}
	return c.conn, nil
}

// flush returns when the bus has all that was sent over its own connections.
func (c *core) flush(ctx context.Context) {
	c.mu.Lock()
	conns := append([]*nats.Conn(nil), c.conns...)
	c.mu.Unlock()
	for _, nc := range conns {
		if nc.IsConnected() {
			_ = nc.FlushWithContext(ctx) // it has been dropped: nothing comes of it any more
		}
	}
}

// settle waits until the connections that were there are back.
func (c *core) settle() error {
	id := c.server().NATS().ID()
	c.mu.Lock()
	conns := append([]*nats.Conn(nil), c.conns...)
	c.mu.Unlock()
	back := func() bool {
		for _, nc := range conns {
			if !nc.IsClosed() && (!nc.IsConnected() || nc.ConnectedServerId() != id) {
				return false
			}
		}
		return true
	}
	if !c.opts.until(back) {
		return fmt.Errorf("a connection is not back after %s", c.opts.patience)
	}
	return nil
}

func loopback(port int64) string { return net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10)) }

func portOf(s *server.Server) int64 {
	if a, ok := s.NATS().Addr().(*net.TCPAddr); ok {
		return int64(a.Port)
	}
	return 0
}
