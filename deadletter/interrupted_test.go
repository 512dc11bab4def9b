package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// mortal is a JetStream whose user is killed after so many steps: what it has asked for by then is done, and nothing after.
// A step is whatever changes something.
type mortal struct {
	jetstream.JetStream
	steps *int
	done  *[]string
}

var errKilled = errors.New("killed")

func newMortal(js jetstream.JetStream, steps int) mortal { return mortal{js, &steps, &[]string{}} }

func (m mortal) step(what string) error {
	if *m.steps == 0 {
		return errKilled
	}
	*m.steps--
	*m.done = append(*m.done, what)
	return nil
}

func (m mortal) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if err := m.step(msg.Subject); err != nil {
		return nil, err
	}
	return m.JetStream.PublishMsg(ctx, msg, opts...)
}

func (m mortal) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	st, err := m.JetStream.Stream(ctx, name)
	return mortalStream{st, m}, err
}

type mortalStream struct {
	jetstream.Stream
	m mortal
}

func (s mortalStream) SecureDeleteMsg(ctx context.Context, seq uint64) error {
	if err := s.m.step("erase"); err != nil {
		return err
	}
	return s.Stream.SecureDeleteMsg(ctx, seq)
}

// forgetful has the streams forget ids after a moment.
const forgetful = `
[[streams]]
name = "PAYMENTS"
subjects = ["events.payments.*"]
duplicate_window = "100ms"
max_bytes = "64MB"
  [[streams.consumers]]
  name = "ledger"
[[streams]]
name = "WORK"
subjects = ["work.>"]
retention = "workqueue"
duplicate_window = "100ms"
max_bytes = "64MB"
  [[streams.consumers]]
  name = "worker"
  filter_subject = "work.todo"
  ack_wait = "50ms"
  max_deliver = 1
[[streams]]
name = "AUDIT"
duplicate_window = "100ms"
`

// forgotten waits until PAYMENTS, WORK and AUDIT know no id any more that they knew when it was called: the ids of one
// stream go in their order.
func forgotten(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	for _, subject := range []string{"events.payments.other", "work.other", "events.audit.other"} {
		for range 2 {
			await(t, func() error {
				ack, err := js.Publish(t.Context(), subject, nil, jetstream.WithMsgID("probe"))
				if err == nil && ack.Duplicate {
					err = errors.New("still known")
				}
				return err
			})
		}
	}
}

// Whoever redrives may be killed after any step, and go on when the streams have forgotten every id: the message is stored
// once, that is recorded once, and the letter is gone.
func TestRedriveInterrupted(t *testing.T) {
	t.Parallel()
	steps := []string{"events.audit.dead-letter.redriving.PAYMENTS.ledger.1", "events.payments.made", "events.audit.dead-letter.redriven", "erase"}
	for kills := range len(steps) + 1 {
		t.Run(fmt.Sprint(kills), func(t *testing.T) {
			t.Parallel()
			bus := bustest.Run(t, bustest.WithTOML(forgetful))
			js := bus.JetStream()
			collect(t, bus, deadletter.Options{})
			refuse(t, bus, &nats.Msg{Subject: "events.payments.made", Data: []byte("1000.00"), Header: nats.Header{nats.MsgIdHdr: {"id-1"}}}, "")
			l := letters(t, bus, 1)[0]

			killed := newMortal(js, kills)
			ls, err := deadletter.Open(t.Context(), killed)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = ls.Redrive(t.Context(), l, false); kills < len(steps) != errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			if got, want := strings.Join(*killed.done, ", "), strings.Join(steps[:kills], ", "); got != want {
				t.Errorf("it did %s, not %s", got, want)
			}
			forgotten(t, js)
			ls = open(t, bus)
			if kills == 2 || kills == 3 { // it was sent
				if err := ls.Dismiss(t.Context(), l, "no"); err == nil || !strings.Contains(err.Error(), "redrive it again to finish") {
					t.Errorf("%v", err)
				}
			}
			if ack, err := ls.Redrive(t.Context(), l, false); err != nil || ack.Stream != "PAYMENTS" {
				t.Fatalf("%+v %v", ack, err)
			}
			again := 0
			for _, m := range stored(t, bus, "PAYMENTS", "events.payments.made") {
				if m.Header.Get(deadletter.RedrivenFrom) != "" {
					again++
				}
			}
			if again != 1 {
				t.Errorf("stored %d times", again)
			}
			if r := records(t, bus, "redriven"); len(r) != 1 {
				t.Errorf("recorded: %v", r)
			}
			letters(t, bus, 0)
		})
	}
}

// Where a message goes when it is done with, nobody can say afterwards whether it was there: it is not sent unless that is
// wanted, and can be dismissed.
func TestRedriveUnclear(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(forgetful))
	js := bus.JetStream()
	collect(t, bus, deadletter.Options{})
	work, err := js.Stream(t.Context(), "WORK")
	if err != nil {
		t.Fatal(err)
	}
	con, err := work.Consumer(t.Context(), "worker")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if _, err := js.Publish(t.Context(), "work.todo", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := con.Next(); err != nil { // and never acknowledged
			t.Fatal(err)
		}
		l := letters(t, bus, 1)[0]
		ls, err := deadletter.Open(t.Context(), newMortal(js, 2))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ls.Redrive(t.Context(), l, false); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		m, err := con.Next()
		if err != nil || m.Headers().Get(deadletter.RedrivenFrom) != l.ID.String() {
			t.Fatalf("%+v %v", m, err)
		}
		at, err := m.Metadata()
		if err == nil {
			err = m.Ack()
		}
		if err != nil {
			t.Fatal(err)
		}
		await(t, func() error {
			if _, err := work.GetMsg(t.Context(), at.Sequence.Stream); !errors.Is(err, jetstream.ErrMsgNotFound) {
				return fmt.Errorf("it is still there: %v", err)
			}
			return nil
		})
		forgotten(t, js)
		ls = open(t, bus)
		if ack, err := ls.Redrive(t.Context(), l, false); !errors.Is(err, deadletter.ErrUnclear) || ack != nil {
			t.Errorf("%+v %v", ack, err)
		}
		if n == 0 {
			err = ls.Dismiss(t.Context(), l, "it was done")
		} else {
			_, err = ls.Redrive(t.Context(), l, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		letters(t, bus, 0)
	}
	if m, err := con.Next(); err != nil || string(m.Data()) != "x" {
		t.Errorf("%+v %v", m, err)
	}
	if r, d := records(t, bus, "redriven"), records(t, bus, "dismissed"); len(r) != 1 || len(d) != 1 {
		t.Errorf("redriven %v, dismissed %v", r, d)
	}
}
