package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// nats-server keeps a stream that it could not write closed to publishers for good, and after some errors shuts down
// JetStream as a whole. What helps is a start anew, and that can be had without ending the process: the same options,
// the same ports, the same lock, and the way of every start, so that clients come back by themselves to a bus that has
// looked at its store.

const (
	restartPause = time.Second      // before the second, doubled by each that follows
	restartMost  = time.Minute      // the longest pause,
	restartFull  = 4 * time.Second  // but where only room was missing
	restartCalm  = 10 * time.Minute // after so long without any, the next is a first one again
	restartTries = 5                // that fail in a row: then the process ends, for whoever looks after it
)

// restarts is what happened so far.
type restarts struct {
	count  uint64    // that came to a good end
	recent int       // since it was calm
	failed int       // in a row
	next   time.Time // not before
}

// needsRestart says why nats-server has to be started anew, and that now is the time; otherwise nothing.
func (g *space) needsRestart(now time.Time, v Room) string {
	if now.Before(g.again.next) || g.ctx.Err() != nil {
		return ""
	}
	n, err := g.s.NATS(), g.broken.Load()
	switch {
	case !roomy(v, g.dir): // to stop it would take even the reading away
	case n == nil:
		return "the last try failed"
	case !n.Running(): // it ends, and so does the bus
	case !n.JetStreamEnabled():
		return "JetStream has shut itself down"
	case err != nil && g.lasting(now):
		if writable(g.dir) == nil {
			return "the store can be written again"
		}
		g.again.next = now.Add(g.pause)
	case g.refusing && !g.staged && now.Sub(g.since) >= lookRefusing:
		if g.staged = true; g.cutBatch() {
			return "an atomic batch was being committed when publishing was refused, and half of it is there; the rest is put there at the start"
		}
	}
	return ""
}

// pauseAfter is how long to leave nats-server alone after it was started anew, when it has been so many times before.
func pauseAfter(recent int, full bool) time.Duration {
	most := restartMost
	if full {
		most = restartFull
	}
	return min(restartPause<<min(recent, 16), most)
}

func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// restart makes one try.
func (g *space) restart(why string) {
	now := time.Now()
	if now.Sub(g.again.next) > restartCalm {
		g.again.recent = 0
	}
	met := g.broken.Load()
	g.again.next = now.Add(pauseAfter(g.again.recent, met != nil && noSpace(*met)) / restartPause * g.pause)
	g.again.recent++
	log := g.s.log
	log.Warn("nats-server is started anew within the process; clients lose their connection for a moment", "why", why)
	err := g.s.restart(g.ctx)
	switch {
	case g.ctx.Err() != nil: // closing
	case err == nil:
		g.again.count++
		g.again.failed = 0
		g.reserve = time.Time{}
		took := time.Since(now).Round(time.Millisecond)
		log.Warn("nats-server is back", "took", took)
		g.s.incident(Incident{What: Restarted, Why: why, Took: took})
	default:
		g.s.incident(Incident{What: RestartFailed, Why: fmt.Sprintf("%s; %v", why, err)})
		g.again.failed++
		if g.again.failed >= restartTries || errors.Is(err, ErrNotRecovered) || errors.Is(err, ErrLoss) || errors.Is(err, ErrInterrupted) {
			log.Error("nats-server does not come back; the process ends", "error", err)
			go func() { _ = g.s.Close(context.Background()) }() // which waits for the end of this goroutine
			return
		}
		log.Error("nats-server does not come back yet", "error", err, "next_try_in", time.Until(g.again.next).Round(time.Millisecond))
	}
}

// restart stops nats-server, if it runs, and takes the way of Open and Listen again.
func (s *Server) restart(ctx context.Context) (err error) {
	s.life.Lock()
	defer s.life.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	g := s.space
	switch p := s.State().Phase; p {
	case Serving, Standing:
		g.listening = p == Serving
	case Restarting:
	default:
		return fmt.Errorf("restart: the bus is %s", p)
	}
	s.set(func(st *State) { st.Phase, st.Storage.New = Restarting, false })
	if n := s.nats.Load(); n != nil {
		s.had = portsOf(n)
		s.forgetsMemory(n)
		s.lower(n)
	}
	defer func() {
		if err == nil {
			return
		}
		if n := s.nats.Load(); n != nil {
			s.lower(n)
		}
		s.set(func(st *State) { st.Phase, st.Err = Restarting, err })
	}()
	s.sink.fatal.Store(nil)
	g.broken.Store(nil)
	g.forget()
	nats, err := s.newNATS()
	if err != nil {
		return err
	}
	if err := s.raise(ctx, nats); err != nil {
		return err
	}
	v, b := g.look()
	low := b.short(v, g.refusing)
	g.staged = true // and what a batch had begun is whole
	if low == "" {
		g.enough = time.Now().Add(-enoughFor)
	}
	g.pull(low != "" || g.broken.Load() != nil) // before anybody is let in
	s.set(func(st *State) { st.Err = nil })
	if g.listening {
		return s.listen()
	}
	return nil
}

// lower ends a nats-server that another one follows. What the ledger promises is written down first: what a full disk
// kept it from.
func (s *Server) lower(n *natsserver.Server) {
	s.stopScrub()
	if s.book != nil {
		if err := s.book.leave(); err != nil {
			s.log.Warn("ledger", "error", err)
		}
		s.book = nil
	}
	s.stopNATS(n) // watch sees that the end is meant
}

// ports are those that a nats-server listens on; 0 where it does not.
type ports struct{ client, cluster, gateway, leaf, web, mqtt int }

func portsOf(n *natsserver.Server) (p ports) {
	if v, err := n.Varz(nil); err == nil {
		p = ports{0, v.Cluster.Port, v.Gateway.Port, v.LeafNode.Port, v.Websocket.Port, v.MQTT.Port}
	}
	if a, ok := n.Addr().(*net.TCPAddr); ok {
		p.client = a.Port
	}
	return p
}

// keep has what would pick a free port take the one that it had.
func (p ports) keep(o *natsserver.Options) {
	for _, x := range []struct {
		port *int
		was  int
	}{{&o.Port, p.client}, {&o.Cluster.Port, p.cluster}, {&o.Gateway.Port, p.gateway}, {&o.LeafNode.Port, p.leaf}, {&o.Websocket.Port, p.web}, {&o.MQTT.Port, p.mqtt}} {
		if *x.port < 0 && x.was > 0 {
			*x.port = x.was
		}
	}
}

// forgetsMemory tells what a start anew costs: memory streams begin empty.
func (s *Server) forgetsMemory(n *natsserver.Server) {
	if v, err := n.Varz(nil); err == nil && v.JetStream.Stats != nil && v.JetStream.Stats.Memory > 0 {
		s.log.Warn("what memory streams hold is gone with it", "bytes", humanize.IBytes(v.JetStream.Stats.Memory))
	}
}

// cutBatch reports whether a stream ends in the middle of an atomic batch. nats-server commits one message after the
// other, stops when one is refused, and only completes what it has begun when it starts again, if nothing else was
// stored behind it.
func (g *space) cutBatch() bool {
	root := filepath.Join(g.dir, natsserver.JetStreamStoreDir)
	staged, err := filepath.Glob(filepath.Join(root, "*", "streams", "*", "batches", "*"))
	if err != nil || len(staged) == 0 {
		return false
	}
	for _, dir := range staged {
		stream := filepath.Dir(filepath.Dir(dir))
		account := filepath.Base(filepath.Dir(filepath.Dir(stream)))
		if account != natsserver.DEFAULT_GLOBAL_ACCOUNT || g.s.endsInBatch(g.ctx, filepath.Base(stream)) {
			return true // of another account's streams nothing can be read; a batch that is not committed lives 10 s at most
		}
	}
	return false
}

func (s *Server) endsInBatch(ctx context.Context, stream string) (cut bool) {
	err := s.withJetStream(func(js jetstream.JetStream) error {
		st, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		last := st.CachedInfo().State.LastSeq
		if last == 0 {
			return nil
		}
		m, err := st.GetMsg(ctx, last)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		cut = m.Header.Get("Nats-Batch-Id") != "" && m.Header.Get("Nats-Batch-Commit") == ""
		return nil
	})
	return cut || err != nil
}
