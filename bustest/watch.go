package bustest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The watch is the bus's own client. It hears what consumers are told (acks go over subjects as everything does) and
// what becomes of messages (advisories), from before the first client can come in until the last has gone.
type watch struct {
	mu    sync.Mutex
	nc    *nats.Conn
	js    jetstream.JetStream
	marks [2]uint64 // the last one heard: acks, advisories
	heard *sync.Cond
	mark  uint64
	seen  map[key]*deliveries
}

type key struct{ stream, consumer string }

const (
	ackPrefix      = "$JS.ACK."
	advisoryPrefix = "$JS.EVENT.ADVISORY.CONSUMER."
	markToken      = "bustest-mark"
	last           = "18446744073709551615"
)

func newWatch() *watch {
	w := &watch{seen: map[key]*deliveries{}}
	w.heard = sync.NewCond(&w.mu)
	return w
}

// attach watches a server that nobody has come into yet.
func (w *watch) attach(s *server.Server) error {
	nc, err := s.Connect(nats.Name("bustest watch"), nats.NoReconnect())
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return err
	}
	w.mu.Lock()
	w.nc, w.js, w.marks = nc, js, [2]uint64{}
	w.mu.Unlock()
	for i, hear := range []func(*nats.Msg){w.ack, w.advisory} {
		prefix := []string{ackPrefix, advisoryPrefix}[i]
		sub, err := nc.Subscribe(prefix+">", func(m *nats.Msg) {
			if at, ok := strings.CutPrefix(m.Subject, prefix+markToken+"."); ok {
				w.reached(i, at)
				return
			}
			hear(m)
		})
		if err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			nc.Close()
			return err
		}
	}
	return nc.Flush()
}

func (w *watch) detach() {
	nc, _ := w.conn()
	if nc == nil {
		return
	}
	nc.Close()
	w.reached(0, last) // whoever waits for it
	w.reached(1, last)
}

func (w *watch) conn() (*nats.Conn, jetstream.JetStream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nc, w.js
}

// client is the watch's number as a client.
func (w *watch) client() uint64 {
	nc, _ := w.conn()
	id, _ := nc.GetClientID()
	return id
}

// sync returns when all that the consumer has been told so far has been done and heard, and how much that was. The consumer goes through what
// it is told one by one, and answers the same way its advisories take: a word about a message that does not exist comes
// back after all of them.
func (w *watch) sync(ctx context.Context, k key) (heard int, err error) {
	nc, _ := w.conn()
	nobody := fmt.Sprintf("%s%s.%s.1.%d.1.0.0", ackPrefix, k.stream, k.consumer, uint64(math.MaxInt64))
	if _, err := nc.RequestWithContext(ctx, nobody, []byte("+WPI")); err != nil {
		return 0, err
	}
	if err := w.catchUp(nc); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of(k).heard, nil
}

// catchUp returns when the handlers have seen what the connection has received.
func (w *watch) catchUp(nc *nats.Conn) error {
	w.mu.Lock()
	w.mark++
	mark := w.mark
	w.mu.Unlock()
	for _, prefix := range []string{ackPrefix, advisoryPrefix} {
		if err := nc.Publish(prefix+markToken+"."+strconv.FormatUint(mark, 10), nil); err != nil {
			return err
		}
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for min(w.marks[0], w.marks[1]) < mark {
		w.heard.Wait()
	}
	return nil
}

func (w *watch) reached(i int, at string) {
	n, _ := strconv.ParseUint(at, 10, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks[i] = max(w.marks[i], n)
	w.heard.Broadcast()
}

// of is what was heard of a consumer; w.mu is held.
func (w *watch) of(k key) *deliveries {
	d := w.seen[k]
	if d == nil {
		d = &deliveries{settled: map[uint64]bool{}, acked: map[uint64]bool{}}
		w.seen[k] = d
	}
	return d
}

// answered reports whether nothing more is to come of a message.
func (w *watch) answered(k key, seq uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of(k).settled[seq]
}

// ack hears $JS.ACK.[DOMAIN.ACCOUNT.]STREAM.CONSUMER.DELIVERIES.STREAMSEQ.CONSUMERSEQ.TIME.PENDING[.TOKEN].
func (w *watch) ack(m *nats.Msg) {
	t := strings.Split(m.Subject, ".")
	if len(t) > 9 {
		t = append(t[:2:2], t[4:]...)
	}
	if len(t) < 9 {
		return
	}
	nth, _ := strconv.Atoi(t[4])
	seq, _ := strconv.ParseUint(t[5], 10, 64)
	if seq == math.MaxInt64 {
		return // sync's
	}
	word := string(m.Data)
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.of(key{t[2], t[3]})
	switch {
	case word == passed:
		d.note("#%d ack_wait passed", seq)
	case word == "" || word == "+ACK" || word == "+OK" || strings.HasPrefix(word, "+NXT"):
		d.acked[seq], d.settled[seq] = true, true
		d.note("#%d acked at delivery %d", seq, nth)
	case strings.HasPrefix(word, "-NAK"):
		d.naked++
		d.note("#%d naked at delivery %d%s", seq, nth, strings.TrimPrefix(word, "-NAK"))
	}
}

// advisory hears of messages that a consumer no longer delivers although nobody acknowledged them.
func (w *watch) advisory(m *nats.Msg) {
	kind, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, advisoryPrefix), ".")
	if kind != "MAX_DELIVERIES" && kind != "MSG_TERMINATED" {
		return
	}
	var a struct {
		Stream, Consumer string
		StreamSeq        uint64 `json:"stream_seq"`
		Deliveries       uint64
		Reason           string
	}
	if json.Unmarshal(m.Data, &a) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.of(key{a.Stream, a.Consumer})
	d.settled[a.StreamSeq] = true
	if kind == "MAX_DELIVERIES" {
		d.givenUp++
		d.note("#%d given up after %d deliveries", a.StreamSeq, a.Deliveries)
	} else {
		d.terminated++
		d.note("#%d terminated at delivery %d %s", a.StreamSeq, a.Deliveries, a.Reason)
	}
}

// deliveries is what was heard of one consumer.
type deliveries struct {
	acked, settled             map[uint64]bool // by stream sequence; settled ones are acked, terminated or given up
	naked, terminated, givenUp int
	before                     uint64 // deliveries that a crash has made the consumer forget
	heard                      int
	notes                      []string // the last of what was heard
}

// note keeps the last 40.
func (d *deliveries) note(format string, args ...any) {
	d.heard++
	if len(d.notes) == 40 {
		d.notes = append(d.notes[:0], d.notes[1:]...)
	}
	d.notes = append(d.notes, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}
