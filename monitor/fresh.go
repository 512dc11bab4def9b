package monitor

import (
	"net"
	"net/http"
	"sync"
)

// fresh holds the connections that have not sent a whole request head yet. http.Server.Shutdown would wait up to five
// seconds for each of them; a client that only connected is not worth that.
type fresh struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// watch is an http.Server's ConnState.
func (f *fresh) watch(c net.Conn, s http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s != http.StateNew {
		delete(f.conns, c)
		return
	}
	if f.closed {
		c.Close()
		return
	}
	if f.conns == nil {
		f.conns = map[net.Conn]struct{}{}
	}
	f.conns[c] = struct{}{}
}

// closeAll closes them, and those that come later.
func (f *fresh) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c := range f.conns {
		c.Close()
	}
}
