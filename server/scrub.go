package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/integrity"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// scrubbing is the scrub while it runs.
type scrubbing struct {
	*integrity.Scrub
	stop context.CancelFunc
	done chan struct{}
}

// scrubAfter is how long after the start the store begins to be read again: the first minute belongs to others.
const scrubAfter = time.Minute

// startScrub begins to read everything in the store again, beside NATS.
func (s *Server) startScrub() {
	if !s.ledgerKept() {
		return
	}
	r, err := blocks.For(natsserver.VERSION)
	if err != nil {
		return // examine has said so
	}
	ctx, stop := context.WithCancel(context.Background())
	sc := &scrubbing{stop: stop, done: make(chan struct{}), Scrub: &integrity.Scrub{
		Store: s.opts.Load().StoreDir, Reader: r, Engine: asked{s}, Quarantine: s.quarantine(), Found: s.report,
		Limits: func() (int64, time.Duration) { c := s.Config().Scrub; return c.Rate, c.Period },
		Failed: func(stream string, err error) {
			s.log.Warn("reading the store again did not work", "stream", stream, "error", err)
		},
	}}
	s.scrub.Store(sc)
	go func() {
		defer close(sc.done)
		sc.Run(ctx, s.scrubAfter)
	}()
}

func (s *Server) stopScrub() {
	if sc := s.scrub.Load(); sc != nil {
		sc.stop()
		<-sc.done
	}
}

// Scrub is how far everything in the store has been read again.
func (s *Server) Scrub() integrity.Progress {
	if sc := s.scrub.Load(); sc != nil {
		return sc.Progress()
	}
	return integrity.Progress{}
}

// asked is NATS as the scrub asks it. Each question has its own connection, gone again after it: there are a few a day.
type asked struct{ s *Server }

func (a asked) Streams() (names []string, _ error) {
	n := a.s.NATS()
	if n == nil || !n.Running() {
		return nil, nil // it is being started again
	}
	streams, err := held(n)
	for _, st := range streams {
		names = append(names, st.Name)
	}
	return names, err
}

func (a asked) Held(ctx context.Context, stream string, deleted bool) (h integrity.Held, err error) {
	a.s.owned.Add(1)
	defer a.s.owned.Add(-1)
	nc, err := a.s.Connect(nats.Name("deltran-bus scrub"))
	if err != nil {
		return h, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	body, err := json.Marshal(natsserver.JSApiStreamInfoRequest{DeletedDetails: deleted})
	if err != nil {
		return h, err
	}
	reply, err := nc.RequestWithContext(ctx, fmt.Sprintf(natsserver.JSApiStreamInfoT, stream), body)
	if err != nil {
		return h, err
	}
	var info natsserver.JSApiStreamInfoResponse
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		return h, err
	}
	if info.Error != nil {
		if info.Error.ErrCode == uint16(natsserver.JSStreamNotFoundErr) {
			return h, fs.ErrNotExist
		}
		return h, info.Error
	}
	if info.StreamInfo == nil {
		return h, errors.New("an answer without a stream")
	}
	h = integrity.Held{Created: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq, Deleted: info.State.Deleted}
	if info.State.Lost != nil {
		h.Lost = len(info.State.Lost.Msgs)
	}
	return h, nil
}
