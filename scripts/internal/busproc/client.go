package busproc

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// WithJetStream gives do a client of the server at the URL, and closes it afterwards.
func WithJetStream(url string, do func(jetstream.JetStream) error) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return do(js)
}

// JetStream is a client of the bus; its connection is the caller's to close.
func (b *Bus) JetStream() (jetstream.JetStream, error) {
	nc, err := nats.Connect(b.Client)
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc)
}
