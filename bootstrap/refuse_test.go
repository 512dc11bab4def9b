package bootstrap

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deltran/deltran-bus/config"
)

// What cannot be created, the server refuses as well: nothing is held back for a reason of our own.
func TestRefusalsAreTheServers(t *testing.T) {
	t.Parallel()
	b := start(t)
	a := newAPI(b.js)
	for i := range 400 {
		d := dice{rand.New(rand.NewPCG(uint64(i), 9))}
		name := unique()
		want := d.stream(name)
		want.Storage = jetstream.MemoryStorage
		for _, c := range Diff([]config.Stream{want}, Observed{}).Changes {
			if c.Class != Conflict {
				continue
			}
			var err error
			if c.stream != nil {
				err = a.call(b.ctx, 0, "STREAM.CREATE."+name, want.StreamConfig, nil)
			} else if c.Why != "its stream cannot be created" {
				if err := a.call(b.ctx, 0, "STREAM.CREATE."+name, want.StreamConfig, nil); err != nil {
					t.Fatal(i, err)
				}
				err = a.consumer(b.ctx, name, fieldsOf(c.consumer.sendable(c.consumer.declared)), Create, 0)
			} else {
				continue
			}
			if refusal(err) == 0 {
				t.Errorf("round %d: %s: %s, says only this: %v\n%v", i, c.Ref, c.Why, err, fmt.Sprint(fieldsOf(want.StreamConfig), want.Consumers))
			}
		}
		_ = b.js.DeleteStream(b.ctx, name)
	}
}
