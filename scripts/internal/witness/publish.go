package witness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	batchIncomplete = 10176            // JSAtomicPublishIncompleteBatchErr
	patience        = 30 * time.Second // for a server that stops
)

// Create makes what the server does not have by itself: streams first, then consumers. What is there already is left.
func (w *Witness) Create(ctx context.Context, js jetstream.JetStream) error {
	for _, r := range w.streams {
		if !r.Declared && r.created == never {
			if _, err := js.CreateStream(ctx, r.Config); err != nil {
				return fmt.Errorf("stream %s: %w", r.Config.Name, err)
			}
		}
		w.note(&r.created)
	}
	for _, r := range w.streams {
		if !r.Consume || r.consuming != never {
			continue
		}
		_, err := js.CreateConsumer(ctx, r.Config.Name, jetstream.ConsumerConfig{Durable: Consumer, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: ackWait, MaxAckPending: 10_000})
		if err != nil {
			return fmt.Errorf("consumer %s/%s: %w", r.Config.Name, Consumer, err)
		}
		w.note(&r.consuming)
	}
	return nil
}

func (w *Witness) note(first *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if *first == never {
		*first = w.now()
	}
}

// Load publishes and consumes until ctx is done or the server is gone, whichever is first; each stream has a publisher of its
// own connection. It returns an error for what no crash explains, such as a refused publish.
func (w *Witness) Load(ctx context.Context, url string) error {
	var wg sync.WaitGroup
	errs := make(chan error)
	run := func(f func() error) { wg.Go(func() { errs <- f() }) }
	for _, r := range w.streams {
		for n := range max(r.Writers, 1) {
			run(func() error { return w.publish(ctx, url, r, n, never) })
		}
		if r.Consume {
			run(func() error { return w.consume(ctx, url, r) })
		}
	}
	go func() { wg.Wait(); close(errs) }()
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

// Publish publishes so many messages, or batches, to each stream, one stream after another.
func (w *Witness) Publish(ctx context.Context, url string, each int) error {
	for _, r := range w.streams {
		if err := w.publish(ctx, url, r, 0, each); err != nil {
			return err
		}
	}
	return nil
}

// connect calls gone when the connection is; it does not look for another server, and says nothing of how the first one went.
func (w *Witness) connect(url string, gone func()) (*nats.Conn, error) {
	return nats.Connect(url, append([]nats.Option{nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { gone() }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, w.Login...)...)
}

// A publisher has one connection and one stream.
type publisher struct {
	*record
	w       *Witness
	writer  int
	nc      *nats.Conn
	inbox   string
	slots   chan struct{} // as many as may be under way
	gone    chan struct{} // closed when the connection is
	mu      sync.Mutex
	waiting map[string][]message // by the last token of the reply subject
	refused error
}

// publish ends when so many are acknowledged, when ctx is done or when the server is gone.
func (w *Witness) publish(ctx context.Context, url string, r *record, writer, count int) error {
	p := &publisher{record: r, w: w, writer: writer, inbox: nats.NewInbox(), slots: make(chan struct{}, r.Window),
		gone: make(chan struct{}), waiting: map[string][]message{}}
	var err error
	if p.nc, err = w.connect(url, func() { close(p.gone) }); err != nil {
		return nil // it is gone before we came
	}
	defer p.nc.Close()
	if _, err := p.nc.Subscribe(p.inbox+".*", p.answered); err != nil {
		return nil
	}
	todo := w.again(r)
	for i := 0; i < count+len(todo); i++ {
		if !p.room(ctx) {
			return p.failed()
		}
		if i < len(todo) {
			p.send(strconv.Itoa(i), todo[i:i+1])
		} else {
			p.send(strconv.Itoa(i), w.next(r, writer))
		}
	}
	for range r.Window { // until all are answered
		p.room(ctx)
	}
	return p.failed()
}

// room waits until one more may be under way.
func (p *publisher) room(ctx context.Context) bool {
	select {
	case p.slots <- struct{}{}:
		return ctx.Err() == nil
	case <-ctx.Done():
	case <-p.gone:
	}
	return false
}

// again are the messages that were on their way at the last crash.
func (w *Witness) again(r *record) []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(r.open)
}

// next are new messages for one publish.
func (w *Witness) next(r *record, writer int) []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]message, max(r.Batch, 1))
	for i := range list {
		w.sent++
		list[i] = message{uint64(writer)<<countBits | w.sent, r.Min + rand.IntN(r.Max-r.Min+1), w.now()}
	}
	if r.MsgID {
		r.open = append(r.open, list...)
	}
	return list
}

func (p *publisher) send(token string, list []message) {
	p.mu.Lock()
	p.waiting[token] = list
	p.mu.Unlock()
	for i, m := range list {
		msg := nats.NewMsg(p.Subject)
		msg.Data = m.data()
		if p.MsgID {
			msg.Header.Set(jetstream.MsgIDHeader, strconv.FormatUint(m.number, 10))
		}
		if p.Batch > 0 {
			msg.Header.Set("Nats-Batch-Id", p.inbox[len(p.inbox)-10:]+token)
			msg.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		}
		if i == len(list)-1 {
			msg.Reply = p.inbox + "." + token
			if p.Batch > 0 {
				msg.Header.Set("Nats-Batch-Commit", "1")
			}
		}
		_ = p.nc.PublishMsg(msg) // a connection that is gone ends the loop
	}
}

// answered notes an acknowledgement at the moment it arrives.
func (p *publisher) answered(m *nats.Msg) {
	token := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	p.mu.Lock()
	list := p.waiting[token]
	delete(p.waiting, token)
	p.mu.Unlock()
	var ack struct {
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
		Error  *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case m.Header.Get("Status") != "": // JetStream has closed before the connection did: not an answer
		return
	case err != nil:
		p.fail(fmt.Errorf("publish to %s: answered %q: %w", p.Subject, m.Data, err))
		return
	case ack.Error != nil && (ack.Error.Code == 503 || ack.Error.ErrorCode == batchIncomplete):
		// It is stopping, and has dropped the batches that were under way; if it is not, the answer stands.
		time.AfterFunc(patience, func() { p.fail(fmt.Errorf("publish to %s: %w", p.Subject, ack.Error)) })
		return
	case ack.Error != nil:
		p.fail(fmt.Errorf("publish to %s: %w", p.Subject, ack.Error))
		return
	case ack.Stream != p.Config.Name:
		p.fail(fmt.Errorf("publish to %s: stored in %s", p.Subject, ack.Stream))
		return
	}
	p.w.acknowledged(p.record, ack.Seq-uint64(len(list))+1, list)
	<-p.slots
}

func (w *Witness) acknowledged(r *record, seq uint64, list []message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, m := range list {
		r.acks[seq+uint64(i)] = promise{m, w.now()}
		if r.MsgID {
			r.open = slices.DeleteFunc(r.open, func(o message) bool { return o.number == m.number })
		}
	}
}

func (p *publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = errors.Join(p.refused, err)
	p.nc.Close()
}

func (p *publisher) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}
