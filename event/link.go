package event

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// link is one connection, from when it stands until it breaks. It never reconnects: what is sent over it arrives in
// order up to some point and from there on not at all, so that sending the rest again over the next one keeps the order.
// A connection that reconnects by itself may deliver what was sent in the moment of the break, and not what came before.
type link struct {
	p      *Publisher
	nc     *nats.Conn
	js     jetstream.JetStream
	ctx    context.Context // ends with it
	cancel context.CancelFunc
	room   int // bytes that an event in a batch may have
	inbox  string
	sent   uint64
	flying map[string]*item // sent alone, by the last token of the reply's subject

	commits map[string]*batch // sent, by that of their last event
	out     nats.Msg          // what is sent next; nats.go keeps nothing of it
}

// connect makes a new link the publisher's.
func (p *Publisher) connect() (*link, error) {
	k := &link{p: p, flying: map[string]*item{}, commits: map[string]*batch{}, out: nats.Msg{Header: nats.Header{}}}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	o := p.from.Opts
	o.Servers = append(append([]string{}, o.Servers...), p.from.DiscoveredServers()...)
	o.Name = strings.TrimSpace(o.Name + " publisher")
	o.AllowReconnect, o.RetryOnFailedConnect, o.UseOldRequestStyle = false, false, false
	o.FlusherTimeout = p.quiet // nobody waits for longer on a connection that takes nothing
	o.ConnectedCB, o.ReconnectedCB, o.ReconnectErrCB, o.DisconnectedCB, o.DisconnectedErrCB = nil, nil, nil, nil, nil
	o.DiscoveredServersCB, o.ReconnectToServerCB, o.CustomReconnectDelayCB = nil, nil, nil
	o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) { k.complained(err) }
	o.LameDuckModeHandler = func(*nats.Conn) { p.broke(k, errors.New("the server is about to stop")) } // its streams do already
	o.ClosedCB = func(nc *nats.Conn) { p.broke(k, cmp.Or(nc.LastError(), nats.ErrConnectionClosed)) }
	var err error
	if k.nc, err = o.Connect(); err != nil {
		k.cancel()
		return nil, err
	}
	k.room = int(k.nc.MaxPayload()) - 1024
	k.inbox = k.nc.NewInbox() + "."
	if _, err = k.nc.Subscribe(k.inbox+"*", k.answered); err == nil {
		k.js, err = jetstream.New(k.nc)
	}
	if err != nil {
		k.cancel()
		k.nc.Close()
		return nil, err
	}
	p.mu.Lock()
	defer p.unlock()
	p.link, p.why, p.most = k, nil, int(k.nc.MaxPayload())
	if k.nc.IsClosed() || p.ended {
		p.drop(k, nats.ErrConnectionClosed)
	}
	now := time.Now()
	for _, l := range p.lanes {
		again := l.queue // for some of which it may have become too late
		l.queue = nil
		l.requeue(again, now)
		l.pump()
	}
	return k, nil
}

// stayConnected watches over the link, and makes another when it broke.
func (p *Publisher) stayConnected(ctx context.Context, k *link) {
	defer close(p.gone)
	tick := time.NewTicker(p.quiet / 5)
	defer tick.Stop()
	const shortest, longest = 10 * time.Millisecond, 2 * time.Second
	wait, lost := shortest, false
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look(k)
			continue
		case <-k.ctx.Done():
		}
		if ctx.Err() != nil { // Close has ended it
			return
		}
		if !lost {
			lost = true
			p.mu.Lock()
			why := p.why
			p.mu.Unlock()
			p.tell(why)
			if time.Since(since) > longest {
				wait = shortest
			} else if !later(ctx, &wait, longest) { // the last one broke at once: it may be for what is sent, and is sent again
				return
			}
		}
		next, err := p.connect()
		if err == nil {
			k, lost, since = next, false, time.Now()
			p.tell(nil)
			continue
		}
		p.mu.Lock()
		p.why = err
		p.mu.Unlock()
		if !later(ctx, &wait, longest) {
			return
		}
	}
}

// later waits, the next time for twice as long; it is false when ctx has ended.
func later(ctx context.Context, wait *time.Duration, longest time.Duration) bool {
	t := time.NewTimer(*wait)
	defer t.Stop()
	*wait = min(2**wait, longest)
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (p *Publisher) broke(k *link, why error) {
	p.mu.Lock()
	defer p.unlock()
	p.drop(k, why)
}

// drop ends a link. All that was under way is sent again over the next.
func (p *Publisher) drop(k *link, why error) {
	if p.link != k {
		return
	}
	p.link, p.why = nil, why
	k.cancel()
	k.nc.Close()
	under := map[*lane][]*item{}
	for _, it := range k.flying {
		it.unheard = true
		under[it.lane] = append(under[it.lane], it)
	}
	now := time.Now()
	for _, l := range p.lanes {
		items := under[l]
		for _, b := range []*batch{l.committing, l.open} {
			if b == nil {
				continue
			}
			for _, it := range b.items {
				it.unheard = it.unheard || b == l.committing
			}
			items = append(items, b.items...)
		}
		l.flying, l.committing, l.open = 0, nil, nil
		l.requeue(items, now)
	}
}

// msg is an event as it is sent, until the next call.
func (k *link) msg(it *item, reply string) *nats.Msg {
	k.out.Subject, k.out.Reply, k.out.Data = it.subject, reply, it.data
	clear(k.out.Header)
	k.out.Header[jetstream.MsgIDHeader] = []string{it.id}
	return &k.out
}

// newToken is the last token of the reply's subject of what is sent next.
func (k *link) newToken() string {
	k.sent++
	return strconv.FormatUint(k.sent, 36)
}

// publish sends one event alone.
func (k *link) publish(it *item, now time.Time) {
	token := k.newToken()
	k.flying[token] = it
	it.lane.flying++
	it.sentAt(now)
	switch err := k.nc.PublishMsg(k.msg(it, k.inbox+token)); {
	case err == nil:
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrHeadersNotSupported):
		delete(k.flying, token)
		it.lane.flying--
		k.p.finish(it, Ack{}, err)
	default:
		k.p.drop(k, err)
	}
}

// answered is the answer to an event that was sent alone, or to a batch.
func (k *link) answered(m *nats.Msg) {
	var answer struct {
		jetstream.PubAck
		Count int                 `json:"count"` // of a batch's events
		Error *jetstream.APIError `json:"error"`
	}
	var err error
	switch {
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		err = fmt.Errorf("no stream takes this subject: %w", jetstream.ErrNoStreamResponse)
	case json.Unmarshal(m.Data, &answer) != nil:
		err = jetstream.ErrInvalidJSAck
	case answer.Error != nil:
		err = answer.Error
	case answer.Stream == "":
		err = jetstream.ErrInvalidJSAck
	}
	k.p.mu.Lock()
	defer k.p.unlock()
	if k.p.link != k {
		return
	}
	token, ack := m.Subject[len(k.inbox):], Ack{answer.Stream, answer.Sequence, answer.Duplicate}
	switch it, b := k.flying[token], k.commits[token]; {
	case it != nil:
		delete(k.flying, token)
		it.lane.answered(it, ack, err)
	case b == nil: // nobody waits for it any more
	case err != nil:
		b.lane.refused(b, err)
	case answer.Count != len(b.items):
		b.lane.refused(b, jetstreamext.ErrInvalidBatchAck)
	default:
		b.lane.committed(b, ack)
	}
}

// complained is what the server says beside its answers: that a subject may not be published to, for instance, which it
// does not answer.
func (k *link) complained(err error) {
	_, rest, found := strings.Cut(err.Error(), `Publish to "`)
	subject, _, _ := strings.Cut(rest, `"`)
	if !errors.Is(err, nats.ErrPermissionViolation) || !found {
		return
	}
	p := k.p
	p.mu.Lock()
	defer p.unlock()
	if p.link != k {
		return
	}
	for token, it := range k.flying {
		if it.subject == subject {
			delete(k.flying, token)
			it.lane.answered(it, Ack{}, fmt.Errorf("not permitted: %w", nats.ErrPermissionViolation))
		}
	}
	for _, l := range p.lanes {
		if b := l.committing; b != nil && b.has(subject) {
			l.refused(b, err)
		}
	}
}

// look sees to what has no answer for long. Either the connection is dead, and then it is dropped; or the stream does
// not answer.
func (p *Publisher) look(k *link) {
	if len(p.silent(k)) == 0 {
		return
	}
	if err := k.nc.FlushTimeout(p.quiet); err != nil {
		p.broke(k, fmt.Errorf("the server does not answer: %w", err))
		return
	}
	err := fmt.Errorf("the server answers, but the stream does not since %v", p.quiet)
	silent := p.silent(k)
	p.mu.Lock()
	defer p.unlock()
	if p.link != k {
		return
	}
	for token, it := range k.flying {
		if silent[it] {
			delete(k.flying, token)
			it.lane.answered(it, Ack{}, it.uncertain(err))
		}
	}
	for _, l := range p.lanes {
		if b := l.committing; b != nil && silent[b.held] {
			l.answer(b)
			for _, it := range b.items {
				p.finish(it, Ack{}, it.uncertain(err))
			}
			l.pump()
		}
	}
}

// silent are the events that were sent long ago and have no answer.
func (p *Publisher) silent(k *link) map[*item]bool {
	p.mu.Lock()
	defer p.unlock()
	if p.link != k {
		return nil
	}
	silent := map[*item]bool{}
	add := func(it *item) {
		if time.Since(it.sent) >= p.quiet {
			silent[it] = true
		}
	}
	for _, it := range k.flying {
		add(it)
	}
	for _, l := range p.lanes {
		if l.committing != nil {
			add(l.committing.held)
		}
	}
	return silent
}
