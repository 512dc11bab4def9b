package server

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// lever makes a nats-server refuse what goes to file streams, at once and with JetStream's error 10023, as it does by
// itself when max_file_store is reached; and take it again. Everything else goes on: reading, acks, expiry, memory
// streams, purging, deleting, and changing a stream's limits, which is how people make room.
//
// What is pulled is the number that nats-server holds the file store's use against. It has no function for that: a
// reload only raises it, and Account.UpdateJetStreamLimits, which can be lowered, refuses every update of a stream too
// (10047), even one that shortens max_age. So this reaches into the running server, for that one number, by the names
// of its fields, which nats-server 2.15.2 has. One that lacks them is left alone and reported; a test tells before
// that can happen.
type lever struct{ most *int64 }

// leverOf finds the lever of a server with JetStream.
func leverOf(n *natsserver.Server) (*lever, error) {
	strange := func(what string) error {
		return fmt.Errorf("nats-server %s has no %s as it is known here", natsserver.VERSION, what)
	}
	js := reflect.ValueOf(n).Elem().FieldByName("js") // an atomic.Pointer[jetStream]
	if !js.IsValid() || js.Kind() != reflect.Struct {
		return nil, strange("Server.js")
	}
	load := reflect.NewAt(js.Type(), unsafe.Pointer(js.UnsafeAddr())).MethodByName("Load")
	if !load.IsValid() || load.Type().NumIn() != 0 || load.Type().NumOut() != 1 {
		return nil, strange("Server.js")
	}
	p := load.Call(nil)[0]
	if p.Kind() != reflect.Pointer || p.Type().Elem().Kind() != reflect.Struct {
		return nil, strange("Server.js")
	}
	if p.IsNil() {
		return nil, fmt.Errorf("JetStream is not running")
	}
	most := p.Elem().FieldByName("storeMax")
	if !most.IsValid() || most.Kind() != reflect.Int64 {
		return nil, strange("jetStream.storeMax")
	}
	return &lever{(*int64)(unsafe.Pointer(most.UnsafeAddr()))}, nil
}

// refuse takes no lock of nats-server: it may be called from within.
func (l *lever) refuse() { atomic.StoreInt64(l.most, -1) }

// take gives the number back that the declaration says.
func (l *lever) take(n *natsserver.Server) {
	if js := n.JetStreamConfig(); js != nil {
		atomic.StoreInt64(l.most, js.MaxStore)
	}
}
