package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// asking reads a stream by asking for one message after the other, where a consumer is not to be had: of a work queue every
// consumer takes messages away, and an observer may make none. It leaves nothing behind.
type asking struct {
	source
	nc     *nats.Conn
	filter string    // the subjects that it asks for
	since  time.Time // zero: from seq on
	seq    uint64    // of the next one
	end    uint64    // of the past
	last   uint64    // there was none after it when it was looked
}

const (
	askAgain = 250 * time.Millisecond // whether something came
	askFor   = 2 * time.Second        // until nobody is there, and it is asked again
)

func newAsking(ctx context.Context, nc *nats.Conn, s source, ask tailing) (*asking, error) {
	a := &asking{source: s, nc: nc, filter: ">", since: ask.since}
	if d := distinct(s.words); len(d) == 1 {
		a.filter = d[0]
	}
	state, err := a.state(ctx)
	if err != nil {
		return nil, err
	}
	a.seq, a.end, a.last = 1, state.LastSeq, state.LastSeq
	switch {
	case !ask.since.IsZero():
	case ask.last == 0:
		a.seq = a.end + 1
	case ask.last > 0 && ask.correlation == "":
		a.seq, err = a.lastFrom(ctx, state.FirstSeq, uint64(ask.last))
	}
	return a, err
}

// lastFrom is a sequence from which on there are n messages that are wanted or more, and not many more.
func (a *asking) lastFrom(ctx context.Context, first, n uint64) (uint64, error) {
	found := uint64(0)
	for back, before := n, a.end+1; ; back *= 4 {
		from := max(first, 1)
		if a.end >= first+back {
			from = a.end - back + 1
		}
		for seq := from; seq < before; {
			e, err := a.get(ctx, natsserver.JSApiMsgGetRequest{Seq: seq})
			if err != nil {
				return 0, err
			}
			if e == nil || e.sequence >= before {
				break
			}
			if seq = e.sequence + 1; !e.other {
				found++
			}
		}
		if found >= n || from <= max(first, 1) {
			return from, nil
		}
		before = from
	}
}

func (a *asking) past(ctx context.Context) (*entry, error) {
	for a.seq <= a.end {
		e, err := a.following(ctx)
		if err != nil {
			return nil, err
		}
		if e == nil || e.sequence > a.end {
			break
		}
		a.seq = e.sequence + 1
		if !e.time.Before(a.since) { // which a nats-server before 2.11 is not told by start_time
			return e, nil
		}
	}
	a.seq = a.end + 1
	return nil, nil
}

func (a *asking) coming(ctx context.Context) (*entry, error) {
	for {
		if a.seq <= a.last {
			e, err := a.following(ctx)
			if err != nil {
				return nil, err
			}
			if e != nil {
				a.seq = e.sequence + 1
				return e, nil
			}
			a.seq = a.last + 1 // so that what nobody wants is not looked through again
		}
		if err := pause(ctx, askAgain); err != nil {
			return nil, err
		}
		state, err := a.state(ctx)
		if err != nil {
			return nil, err
		}
		a.last = state.LastSeq
	}
}

func (a *asking) close(context.Context) error { return nil }

// following is the message at seq, or the next one after it; nil if there is none.
func (a *asking) following(ctx context.Context) (*entry, error) {
	if a.seq == 1 && !a.since.IsZero() { // nothing has been read yet
		return a.get(ctx, natsserver.JSApiMsgGetRequest{StartTime: &a.since})
	}
	return a.get(ctx, natsserver.JSApiMsgGetRequest{Seq: a.seq})
}

func (a *asking) get(ctx context.Context, req natsserver.JSApiMsgGetRequest) (*entry, error) {
	req.NextFor = a.filter
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	got, err := a.request(ctx, "STREAM.MSG.GET", body)
	var refusal *natsserver.ApiError
	switch {
	case errors.As(err, &refusal) && natsserver.IsNatsErr(refusal, natsserver.JSNoMessageFoundErr):
		return nil, nil
	case err != nil:
		return nil, err
	}
	m := got.Message
	e := &entry{sequence: m.Sequence, time: m.Time, subject: m.Subject, data: m.Data}
	if len(m.Header) > 0 {
		if e.header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return nil, fmt.Errorf("stream %s: headers of %d: %w", a.stream, e.sequence, err)
		}
	}
	return a.judge(e), nil
}

func (a *asking) state(ctx context.Context) (natsserver.StreamState, error) {
	got, err := a.request(ctx, "STREAM.INFO", nil)
	return got.State, err
}

// answer is what of JetStream's answers counts here.
type answer struct {
	natsserver.ApiResponse
	State   natsserver.StreamState `json:"state"`
	Message natsserver.StoredMsg   `json:"message"`
}

// request asks JetStream, and again where nobody is there: the bus may be started again.
func (a *asking) request(ctx context.Context, api string, body []byte) (answer, error) {
	for {
		var got answer
		patience, cancel := context.WithTimeout(ctx, askFor)
		m, err := a.nc.RequestWithContext(patience, "$JS.API."+api+"."+a.stream, body)
		cancel()
		if err == nil {
			if err = json.Unmarshal(m.Data, &got); err == nil {
				err = got.ToError()
			}
		}
		if err == nil {
			return got, nil
		}
		if nobodyThere(err) {
			err = pause(ctx, askAgain)
		}
		if err != nil {
			return got, fmt.Errorf("stream %s: %w", a.stream, err)
		}
	}
}

// nobodyThere is about a bus that is being started again, or a cluster that is choosing who answers.
func nobodyThere(err error) bool {
	var answer *natsserver.ApiError
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrReconnectBufExceeded) ||
		errors.As(err, &answer) && answer.Code == http.StatusServiceUnavailable
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
