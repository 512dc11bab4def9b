package witness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Result says what a server still has of what was acknowledged.
type Result struct {
	Acknowledged int      // messages that have to be there
	Lost         int      // that are not, or not whole
	Refused      bool     // the server does not start, so that nobody can look
	Problems     []string // the same in words, and what else is wrong: order, repetition, streams, consumers
}

func (r *Result) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *Result) lose(n int, format string, args ...any) {
	if n > 0 {
		r.Lost += n
		r.problem(format, args...)
	}
}

// Add puts two results together.
func (r *Result) Add(other Result) {
	r.Acknowledged += other.Acknowledged
	r.Lost += other.Lost
	r.Refused = r.Refused || other.Refused
	r.Problems = append(r.Problems, other.Problems...)
}

// Err is nil when nothing is lost and nothing else wrong. It tells the first problems.
func (r Result) Err() error {
	if r.Lost == 0 && len(r.Problems) == 0 {
		return nil
	}
	err := fmt.Errorf("%d of %d acknowledged messages cannot be had", r.Lost, r.Acknowledged)
	for i, p := range r.Problems {
		if i == 5 {
			return errors.Join(err, fmt.Errorf("and %d problems more", len(r.Problems)-i))
		}
		err = errors.Join(err, errors.New(p))
	}
	return err
}

// Refused is the result for a server that does not start: whatever it holds, nobody can have it.
func (w *Witness) Refused(until int, why error) Result {
	n := w.Acknowledged(until)
	return Result{n, n, true, []string{"it does not start: " + why.Error()}}
}

// Check looks for everything that was acknowledged until then. Whole reads the streams from their beginning; otherwise only
// what no check has seen yet, and the counts of the rest.
func (w *Witness) Check(ctx context.Context, url string, until int, whole bool) (res Result, err error) {
	nc, err := w.connect(url, func() {})
	if err != nil {
		return res, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return res, err
	}
	for _, r := range w.streams {
		one, err := w.checkStream(ctx, nc, js, r, until, whole)
		if err != nil {
			return res, err
		}
		res.Add(one)
	}
	return res, nil
}

// due are the messages of a stream that have to be there, and the numbers of those that its consumer has acknowledged.
func (w *Witness) due(r *record, until int, whole bool) (want map[uint64]promise, done map[uint64]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	want, done = map[uint64]promise{}, map[uint64]bool{}
	for number, at := range r.done {
		if at <= until {
			done[number] = true
		}
	}
	for seq, p := range r.acks {
		if p.at <= until && (whole || seq > r.checked) && !(r.work() && done[p.number]) {
			want[seq] = p
		}
	}
	return want, done
}

func (w *Witness) checkStream(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, r *record, until int, whole bool) (res Result, err error) {
	name := r.Config.Name
	want, done := w.due(r, until, whole)
	res.Acknowledged = len(want)
	stream, err := js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && r.created > until:
		return res, nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		res.lose(len(want), "stream %s is gone, and %d acknowledged messages with it", name, len(want))
		if len(want) == 0 {
			res.problem("stream %s is gone", name)
		}
		return res, nil
	case err != nil:
		return res, err
	}
	state := stream.CachedInfo().State
	plain := r.Keep == 0 && !r.work()
	if plain && state.Msgs > 0 && (state.FirstSeq != 1 || state.NumDeleted != 0 || state.Msgs != state.LastSeq) {
		res.problem("stream %s has %d messages from %d to %d, %d deleted, and nobody deletes there", name, state.Msgs, state.FirstSeq, state.LastSeq, state.NumDeleted)
	}
	from := uint64(1)
	if !whole {
		from += r.checked
	}
	newest := map[uint64]uint64{} // by writer
	damaged, unacked, lost := 0, 0, len(want)
	err = read(ctx, nc, name, r.Subject, from, func(seq uint64, data []byte) {
		m, err := parse(data)
		p, wanted := want[seq]
		if err != nil {
			res.problem("stream %s: message %d: %v", name, seq, err)
			damaged++
			return
		}
		if newest[m.writer()] >= m.number {
			res.problem("stream %s: message %d is number %d, after %d: twice, or out of order", name, seq, m.number, newest[m.writer()])
		}
		newest[m.writer()] = m.number
		if !done[m.number] {
			unacked++
		}
		if wanted && p.same(m) {
			lost--
			delete(want, seq)
		} else if wanted {
			res.problem("stream %s: message %d is another one than was acknowledged", name, seq)
		}
	})
	if err != nil {
		return res, err
	}
	for seq := range want {
		if r.Keep > 0 && seq+uint64(r.Keep) <= state.LastSeq {
			lost-- // discarded for newer ones
			res.Acknowledged--
			delete(want, seq)
		}
	}
	res.lose(lost, "stream %s: %d acknowledged messages are not there, such as %d; it has %d from %d to %d", name, lost, lowest(want), state.Msgs, state.FirstSeq, state.LastSeq)
	if r.Consume && r.consuming <= until && whole {
		res.consumer(ctx, stream, unacked)
	}
	if lost == 0 && damaged == 0 && plain && until == Now {
		r.checked = state.LastSeq
	}
	return res, nil
}

// consumer holds a consumer to at least once: what it has not been acknowledged is still to come.
func (r *Result) consumer(ctx context.Context, stream jetstream.Stream, unacked int) {
	name := stream.CachedInfo().Config.Name
	consumer, err := stream.Consumer(ctx, Consumer)
	if err != nil {
		r.problem("consumer %s/%s: %v", name, Consumer, err)
		return
	}
	info := consumer.CachedInfo()
	if to := int(info.NumPending) + info.NumAckPending; to < unacked {
		r.problem("consumer %s/%s has %d messages to come, and %d were not acknowledged: the difference is skipped", name, Consumer, to, unacked)
	}
}

func lowest(want map[uint64]promise) (least uint64) {
	for seq := range want {
		if least == 0 || seq < least {
			least = seq
		}
	}
	return least
}

// Repeat publishes again, with their ids, the last messages acknowledged until then, and expects to be told that they are
// there: a publisher that was not told before the crash does the same.
func (w *Witness) Repeat(ctx context.Context, url string, until int) (res Result, err error) {
	nc, err := w.connect(url, func() {})
	if err != nil {
		return res, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return res, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.streams {
		last := uint64(0)
		for seq, p := range r.acks {
			if r.MsgID && p.at <= until {
				last = max(last, seq)
			}
		}
		if last == 0 {
			continue
		}
		m := r.acks[last].message
		msg := &nats.Msg{Subject: r.Subject, Data: m.data()}
		wait, cancel := context.WithTimeout(ctx, 5*time.Second)
		ack, err := js.PublishMsg(wait, msg, jetstream.WithMsgID(fmt.Sprint(m.number)))
		cancel()
		switch {
		case err != nil:
			res.problem("stream %s: publishing message %d again: %v", r.Config.Name, last, err)
		case !ack.Duplicate || ack.Sequence != last:
			res.problem("stream %s: message %d was published again and stored twice, as %d", r.Config.Name, last, ack.Sequence)
		}
	}
	return res, nil
}
