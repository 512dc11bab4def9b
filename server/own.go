package server

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ConnectOwn is Connect for what serves the bus as long as it runs: no client that is counted, or that closing waits for.
// It comes back by itself, also to another nats-server in this process, when the layout stands; not after a reload that
// changes LoginRequired, for nats.go logs in the way it did at first. Call release before Close.
func (s *Server) ConnectOwn(opts ...nats.Option) (nc *nats.Conn, release func(), err error) {
	d := &standing{s: s, login: s.LoginRequired()}
	nc, err = s.Connect(append(opts,
		nats.InProcessServer(d), nats.MaxReconnects(-1), nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { s.owned.Add(-1) }),
		nats.ReconnectHandler(func(*nats.Conn) { s.owned.Add(1) }),
	)...)
	if err != nil {
		return nil, nil, err
	}
	s.owned.Add(1)
	return nc, func() { s.release(nc); d.drop() }, nil
}

// release ends a connection of the bus, and returns when it counts no more.
func (s *Server) release(nc *nats.Conn) {
	connected := nc.IsConnected()
	id, err := nc.GetClientID()
	nc.Close()
	if !connected {
		return
	}
	n := s.NATS()
	for range 1000 {
		if err != nil || n == nil || n.GetClient(id) == nil {
			break
		}
		time.Sleep(time.Millisecond) // nats-server notices by itself, and tells nobody
	}
	s.owned.Add(-1)
}

// standing is the nats-server that there is now, once its store has come back whole and the layout stands: for a stream
// that somebody makes before that, nats-server deletes what it has not read yet.
type standing struct {
	s     *Server
	login bool // how nats.go logs in

	mu   sync.Mutex
	last net.Conn
}

func (d *standing) InProcessConn() (net.Conn, error) {
	d.drop()
	n := d.s.NATS()
	if p := d.s.State().Phase; n == nil || p != Standing && p != Serving {
		return nil, fmt.Errorf("connect: the bus is %s", p)
	}
	if d.login != d.s.LoginRequired() {
		return nil, errors.New("connect: one logs in another way now")
	}
	c, err := n.InProcessConn()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = c
	return c, err
}

// drop ends the one before: where nats.go did not get in by it, it leaves it open, and nats-server a client.
func (d *standing) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil {
		_ = d.last.Close()
	}
	d.last = nil
}
