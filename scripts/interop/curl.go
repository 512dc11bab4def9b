package main

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"

	"github.com/nats-io/nats.go"
)

// curl asks what the specification's section on monitoring asks.
func curl(ctx context.Context, s *session) error {
	get := func(path string, answer any) error {
		body, err := do(exec.CommandContext(ctx, "curl", "--fail", "--silent", "--show-error", s.Monitor+path))
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(body), answer)
	}

	var healthz struct{ Status string }
	s.check("/healthz says ok", errors.Join(get("/healthz", &healthz), same("status", healthz.Status, "ok")))

	var jsz struct{ Streams, Consumers int }
	s.check("/jsz counts 8 streams and 2 consumers", errors.Join(get("/jsz", &jsz),
		same("streams", jsz.Streams, len(streams)), same("consumers", jsz.Consumers, len(consumers))))

	nc, err := nats.Connect(s.Client, nats.Name("interop"))
	if err != nil {
		return err
	}
	defer nc.Close()
	var connz struct {
		Connections []struct{ Name string }
	}
	err = get("/connz", &connz)
	var found bool
	for _, c := range connz.Connections {
		found = found || c.Name == "interop"
	}
	s.check("/connz names a client that is connected", errors.Join(err, same("found", found, true)))
	return nil
}
