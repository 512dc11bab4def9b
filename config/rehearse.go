package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// rehearse lets JetStream itself try the streams, in the memory of a server that nobody can reach: whatever it refuses
// in them is known before the real one starts. It finds nothing where there is no folder for temporary files.
func rehearse(ctx context.Context, streams []Stream, pure *natsserver.Options) (ps Problems) {
	dir, err := os.MkdirTemp("", "deltran-bus-check-")
	if err != nil {
		return nil
	}
	defer os.RemoveAll(dir)
	o := quiet(pure)
	o.StoreDir = filepath.Join(dir, "store")
	s, err := natsserver.NewServer(o)
	if err != nil {
		return nil // said already
	}
	defer s.WaitForShutdown()
	defer s.Shutdown()
	s.Start()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, st := range streams {
		at := path{"streams", st.Name}
		cfg := st.StreamConfig
		cfg.Replicas, cfg.Placement = 1, nil
		if cfg.PersistMode == jetstream.DefaultPersistMode {
			cfg.Storage = jetstream.MemoryStorage
		}
		if _, err := js.CreateStream(ctx, cfg); refused(&ps, at, err) {
			continue
		}
		for _, con := range st.Consumers {
			con.Replicas = 0
			_, err := js.CreateConsumer(ctx, st.Name, con)
			refused(&ps, at.with("consumers", con.Name), err)
		}
	}
	return ps
}

// refused reports whether JetStream refused, and why.
func refused(ps *Problems, at path, err error) bool {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return false
	case errors.As(err, &api):
		ps.add(at, "JetStream refuses it: %s", api.Description)
	case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		ps.add(at, "JetStream's client refuses it: %v", err)
	}
	return true
}

// quiet is a copy of the options for a server in this process that nobody else can reach and that has nobody to let in.
func quiet(o *natsserver.Options) *natsserver.Options {
	return &natsserver.Options{
		ServerName: "rehearsal", DontListen: true, NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
		JetStream: true, JetStreamDomain: o.JetStreamDomain, JetStreamLimits: o.JetStreamLimits, NoJetStreamStrict: o.NoJetStreamStrict,
		JetStreamMaxStore: 1 << 60, JetStreamMaxMemory: 1 << 60, // whether they fit together is looked at elsewhere
	}
}
