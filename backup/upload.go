package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// upload is a restore that a nats-server has begun: what is written goes to it in chunks.
type upload struct {
	ctx    context.Context
	c      client
	stream string
	to     string // where chunks are sent
	sub    *nats.Subscription

	mu    sync.Mutex // write, keepAlive
	buf   []byte
	under int // chunks that are not acknowledged yet
	err   error
}

// sent is how much data one chunk of a restore carries, and ahead how many may be on their way.
const (
	sent  = 128 << 10
	ahead = 8
)

// upload asks for a restore of a stream that must not exist.
func (c client) upload(ctx context.Context, stream string, cfg config, state json.RawMessage) (*upload, error) {
	var answer struct {
		Deliver string `json:"deliver_subject"`
	}
	if err := c.ask(ctx, "STREAM.RESTORE."+stream, map[string]any{"config": cfg, "state": state}, &answer); err != nil {
		return nil, err
	}
	sub, err := c.nc.SubscribeSync(c.nc.NewInbox())
	if err != nil {
		return nil, err
	}
	return &upload{ctx: ctx, c: c, stream: stream, to: answer.Deliver, sub: sub, buf: make([]byte, 0, min(sent, int(c.nc.MaxPayload())))}, nil
}

func (u *upload) Write(p []byte) (n int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(p) > 0 && u.err == nil {
		take := min(len(p), cap(u.buf)-len(u.buf))
		u.buf, p, n = append(u.buf, p[:take]...), p[take:], n+take
		if len(u.buf) == cap(u.buf) {
			u.err = u.send()
		}
	}
	return n, u.err
}

// send sends what is buffered, and waits where too much is on its way.
func (u *upload) send() error {
	if len(u.buf) == 0 {
		return nil
	}
	if err := u.c.nc.PublishRequest(u.to, u.sub.Subject, u.buf); err != nil {
		return err
	}
	u.buf = u.buf[:0]
	for u.under++; u.under > ahead; {
		if err := u.acked(); err != nil {
			return err
		}
	}
	return nil
}

// acked waits for one acknowledgement, or for the reason why there is none.
func (u *upload) acked() error {
	m, err := u.next()
	if err != nil {
		return err
	}
	u.under--
	if len(m.Data) > 0 {
		return errors.Join(read(m.Data, nil), errRefused)
	}
	return nil
}

func (u *upload) next() (*nats.Msg, error) {
	m, err := u.c.next(u.ctx, u.sub)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, errGivenUp
	}
	return m, err
}

var (
	errRefused = errors.New("nats-server takes no more of it")
	errGivenUp = errors.New("nats-server has given the restore up; its log says why")
)

// flush returns when nats-server has taken everything.
func (u *upload) flush() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = u.send()
	}
	for u.under > 0 && u.err == nil {
		u.err = u.acked()
	}
	return u.err
}

// nothing is a chunk of s2 that readers pass over.
const nothing = "\xfe\x04\x00\x00\x00\x00\x00\x00"

// keepAlive sends nothing, so that nats-server goes on waiting for the rest: after five seconds it would not. It is for
// uploads that have been flushed.
func (u *upload) keepAlive() error {
	if _, err := u.Write([]byte(nothing)); err != nil {
		return err
	}
	return u.flush()
}

// rest is how long nats-server may take for what it does when it has everything.
const rest = time.Hour

// last says that this was all. nats-server makes the stream then.
func (u *upload) last() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = u.send()
	}
	if u.err == nil {
		u.err = u.c.nc.PublishRequest(u.to, u.sub.Subject, nil)
	}
	return u.err
}

// finish is last, and returns what is made.
func (u *upload) finish() (*state, error) {
	if err := u.last(); err != nil {
		return nil, err
	}
	return u.made()
}

// made returns what the stream holds that nats-server has made after last.
func (u *upload) made() (*state, error) {
	defer u.sub.Unsubscribe()
	if err := u.flush(); err != nil {
		return nil, err
	}
	u.c.wait = max(u.c.wait, rest)
	m, err := u.next()
	if err != nil {
		return nil, err
	}
	var answer struct {
		State state `json:"state"`
	}
	if err := read(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("nats-server did not take it: %w", err)
	}
	return &answer.State, nil
}

// abandon makes nats-server forget what it has got. What it is sent for that is not s2, and ends its reading at once.
func (u *upload) abandon() {
	_ = u.c.nc.PublishRequest(u.to, u.sub.Subject, []byte("\x02\x00\x00\x00abandoned"))
	_ = u.c.nc.PublishRequest(u.to, u.sub.Subject, nil)
	_ = u.c.nc.Flush()
	_ = u.sub.Unsubscribe()
}
