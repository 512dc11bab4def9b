package server_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// nats-server 2.15.2 says "Critical write error" of a stream that is deleted while somebody publishes to it. The protocol fuzzer
// found that the bus refused all publishes then, and started nats-server anew: whoever may delete a stream could do that to
// everybody.
func TestDeletedWhilePublishedTo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, dir))
	own, ctx := js(t, s), context.Background()
	was := s.NATS()
	file := func(stream string) string {
		return filepath.Join(dir, "jetstream", "$G", "streams", stream, "msgs", "1.blk")
	}
	open := func(file string) error { // as nats-server words it
		return fmt.Errorf("error opening msg block file [%q]: %v", file, &fs.PathError{Op: "open", Path: file, Err: syscall.ENOENT})
	}
	harmless := func(when string, err error) {
		t.Helper()
		s.Break(err)
		s.Look()
		if st := s.State().Space; st.Refusing != "" || st.WriteErrors > 0 || st.Restarts > 0 || s.NATS() != was {
			t.Errorf("%s: %+v", when, st)
		}
	}
	s.StopLooking() // a test does
	harmless("it is gone", open(file("GONE")))
	made, err := own.CreateStream(ctx, jetstream.StreamConfig{Name: "X", Subjects: []string{"x.>"}})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, own, "x.x", 1)
	harmless("it was made anew", open(file("X")))

	// Deleted and made anew under publishers, for real.
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var publishers sync.WaitGroup
	quit := make(chan struct{})
	for range 4 {
		publishers.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
					_ = nc.Publish("x.x", []byte("y"))
				}
			}
		})
	}
	for range 100 {
		if err := own.DeleteStream(ctx, "X"); err != nil {
			t.Fatal(err)
		}
		if made, err = own.CreateStream(ctx, jetstream.StreamConfig{Name: "X", Subjects: []string{"x.>"}}); err != nil {
			t.Fatal(err)
		}
		s.Look()
	}
	close(quit)
	publishers.Wait()
	s.Look()
	if st := s.State().Space; st.Refusing != "" || st.WriteErrors > 0 || s.NATS() != was {
		t.Errorf("deleted %s for real: %+v", made.CachedInfo().Config.Name, st)
	}

	// A stream that nobody has deleted, and whose files are gone, is another matter; and so is an error that names no stream.
	for what, err := range map[string]error{"without its folder": open(file("RISK")), "elsewhere": open(filepath.Join(t.TempDir(), "x")), "nowhere": syscall.ENOENT} {
		s := start(t, at(t, filepath.Join(t.TempDir(), "store")))
		if what == "without its folder" {
			s = start(t, at(t, dir+"2"))
			err = open(filepath.Join(dir+"2", "jetstream", "$G", "streams", "RISK", "msgs", "1.blk"))
			if err := os.RemoveAll(filepath.Join(dir+"2", "jetstream", "$G", "streams", "RISK", "msgs")); err != nil {
				t.Fatal(err)
			}
		}
		s.StopLooking()
		s.Break(err)
		s.Look()
		if st := s.State().Space; st.WriteErrors != 1 || st.Refusing == "" && st.Restarts == 0 && s.State().Phase == server.Serving {
			t.Errorf("%s: %+v", what, st)
		}
	}
}
