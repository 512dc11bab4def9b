package bustest

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// passed is PassAckWait's nak: the blank tells it from a service's.
const passed = "-NAK "

// PassAckWait lets ack_wait pass, or the step of backoff, or the delay of a nak: whatever is delivered and has no answer
// yet is due again at once. To JetStream it is a nak on the service's behalf, so there is nothing to wait for, nothing
// in the configuration changes, and a last delivery is given up at the next pull. What has been said before counts, as
// for Counts.
func (c *Consumer) PassAckWait() {
	c.b.helper()()
	if err := c.passAckWait(); err != nil {
		c.b.fatalf("%s: PassAckWait: %v", c, err)
	}
}

func (c *Consumer) passAckWait() error {
	ctx, cancel := c.b.patient()
	defer cancel()
	w := c.b.watch
	c.b.flush(ctx)
	if _, err := w.sync(ctx, c.k); err != nil { // answers that are on their way are answers
		return err
	}
	i, err := c.info(ctx)
	if err != nil {
		return err
	}
	if i.Config.AckPolicy == jetstream.AckNonePolicy {
		return fmt.Errorf("it has ack_policy none: no delivery waits for an answer")
	}
	nc, _ := w.conn()
	for seq := i.AckFloor.Stream + 1; i.NumAckPending > 0 && seq <= i.Delivered.Stream; seq++ { // of those in between that have an answer nothing comes
		if w.answered(c.k, seq) {
			continue
		}
		if err := nc.Publish(fmt.Sprintf("%s%s.%s.1.%d.%d.0.0", ackPrefix, c.k.stream, c.k.consumer, seq, i.Delivered.Consumer), []byte(passed)); err != nil {
			return err
		}
	}
	_, err = w.sync(ctx, c.k)
	return err
}
