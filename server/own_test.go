package server_test

import (
	"path/filepath"
	"testing"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go/jetstream"
)

// A connection of the bus itself is no client that is counted, neither while it is there nor when it has gone.
func TestConnectOwn(t *testing.T) {
	t.Parallel()
	s, err := tryStart(t, filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	nc, release, err := s.ConnectOwn()
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(t.Context()); err != nil {
		t.Error(err)
	}
	client, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if n := s.Clients(); n != 1 {
		t.Errorf("%d clients, not 1", n)
	}
	id, err := nc.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.NATS().DisconnectClientByID(id); err != nil { // it comes back by itself
		t.Fatal(err)
	}
	until(t, "connected anew", func() bool {
		now, err := nc.GetClientID()
		return err == nil && now != id && nc.IsConnected() && s.Clients() == 1
	})
	release()
	if n := s.Clients(); n != 1 {
		t.Errorf("%d clients, not 1", n)
	}
}

// While nats-server is not there, or has not read its store yet, it does not come back.
func TestConnectOwnWaits(t *testing.T) {
	t.Parallel()
	s := server.New(at(t, filepath.Join(t.TempDir(), "store")), logTo(t))
	if _, _, err := s.ConnectOwn(); err == nil {
		t.Error("connected to nothing")
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	nc, release, err := s.ConnectOwn() // behind the gate, too
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	until(t, "disconnected", func() bool { return !nc.IsConnected() })
	release()
}
