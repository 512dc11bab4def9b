package server

import (
	"time"

	"github.com/deltran/deltran-bus/config"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// natsOptions is the declaration as nats-server's options, with what embedding it needs on top.
func natsOptions(c *config.Config) (*natsserver.Options, error) {
	o, err := c.Options()
	if err != nil {
		return nil, err
	}
	o.DontListen = true // the gate: Listen opens the port
	o.NoSigs, o.NoLog, o.DisableJetStreamBanner = true, true, true
	o.LameDuckDuration, o.LameDuckGracePeriod = c.Bus.LameDuck, 10*time.Millisecond // a file may not say less than 30s
	return o, nil
}
