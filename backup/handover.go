package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
)

// held is a stream whose files a nats-server has, all but the end: it makes nothing of them yet, and forgets them if
// nothing more comes.
type held struct {
	*upload
	target *target
	end    func() error
}

// handOver sends all streams, and makes them stand when all have arrived.
func (r *restore) handOver(ctx context.Context) (err error) {
	var ready []*held
	var mu sync.Mutex // of ready
	defer func() {
		for _, h := range ready {
			if err != nil && !h.target.made {
				h.abandon()
			}
		}
	}()
	waiting, stop := context.WithCancel(ctx)
	alive := make(chan struct{})
	go func() { // those that have arrived are told to wait for the others
		defer close(alive)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-waiting.Done():
				return
			case <-tick.C:
			}
			mu.Lock()
			all := ready
			mu.Unlock()
			for _, h := range all {
				_ = h.keepAlive() // an error comes again at the end
			}
		}
	}()
	hush := sync.OnceFunc(func() { stop(); <-alive })
	defer hush()

	p := newProgress(r.o.Progress, "handing over", len(r.targets))
	for _, t := range r.targets {
		if t.cfg.text("storage") == "memory" {
			continue
		}
		h, err := r.send(ctx, t, p)
		if err != nil {
			return fmt.Errorf("stream %s: %w", t.name, err)
		}
		mu.Lock()
		ready = append(ready, h)
		mu.Unlock()
		p.done()
	}
	if err := r.memory(ctx, p); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // from here on nobody can say what stands but by waiting for it
	hush()
	if r.local() {
		syncDisks() // nats-server does not, and a power cut would leave half of it
	}
	slices.SortStableFunc(ready, func(a, b *held) int { return cmp.Compare(a.target.cfg.copies(), b.target.cfg.copies()) })
	if err := r.stand(ctx, ready, p); err != nil {
		return err
	}
	if err := r.reveal(ctx); err != nil {
		return err
	}
	if r.local() {
		syncDisks()
	}
	return nil
}

// send uploads a stream's files.
func (r *restore) send(ctx context.Context, t *target, p *progress) (*held, error) {
	st, err := json.Marshal(map[string]any{"messages": 0})
	if err != nil {
		return nil, err
	}
	up, err := r.upload(ctx, t.name, t.cfg, st)
	if err != nil {
		return nil, noRoom(err, t)
	}
	made := t.from.Created
	if t.name != t.from.Name {
		made = time.Time{} // a copy is another stream
	}
	end, err := r.shop.pack(t.name, made, io.MultiWriter(up, p.count(t.name)))
	if err == nil {
		err = up.flush()
	}
	// nats-server looks through its streams without their lock before it reads on from what tells the format, which may be
	// all there is yet: only when it has read something more is it safe to have it make another stream.
	if err == nil {
		err = up.keepAlive()
	}
	if err != nil {
		up.abandon()
		return nil, err
	}
	return &held{up, t, end}, nil
}

// noRoom says what to do where a NATS has too little room.
func noRoom(err error, t *target) error {
	if quota := t.cfg.number("max_bytes"); quota > 0 && (isAPI(err, errNoMemory) || isAPI(err, errNoStorage)) {
		return fmt.Errorf("its max_bytes of %s does not fit into what the other streams' leave of max_file_store, or max_memory_store; raise that: %w", humanize.IBytes(uint64(quota)), err)
	}
	return err
}

// stand sends the ends, all at once, and compares what stands then with what was sent. It waits for all of them, so that
// nothing comes to stand afterwards.
func (r *restore) stand(ctx context.Context, ready []*held, p *progress) error {
	failed := make([]error, len(ready))
	for _, h := range ready {
		h.upload.ctx = ctx
	}
	for i, h := range ready { // into its buffer, which is empty and much larger
		failed[i] = h.end()
	}
	for i, h := range ready {
		h.target.made = true
		if failed[i] == nil {
			failed[i] = h.last()
		}
	}
	for i, h := range ready {
		var st *state
		if failed[i] == nil {
			st, failed[i] = h.made()
		}
		for again := 0; swept(failed[i]) && again < 50 && ctx.Err() == nil; again++ {
			st, failed[i] = r.resend(ctx, h.target, p)
		}
		if failed[i] == nil {
			failed[i] = r.arrived(h.target, st)
		} else {
			h.target.made = !isAPI(failed[i], errStreamExists) // that one is somebody else's
		}
		if failed[i] != nil {
			failed[i] = fmt.Errorf("stream %s: %w", h.target.name, failed[i])
		}
	}
	return errors.Join(failed...)
}

// swept reports whether nats-server has failed for want of the folder in which it makes streams. nats-server 2.15.2 removes an
// account's folders, if they are empty, some time after a stream was deleted.
func swept(err error) bool {
	return isAPI(err, errRestoreFailed) && strings.Contains(err.Error(), "no such file or directory")
}

// resend sends a stream's files once more, and makes it stand.
func (r *restore) resend(ctx context.Context, t *target, p *progress) (*state, error) {
	h, err := r.send(ctx, t, p)
	if err == nil {
		err = h.end()
	}
	if err != nil {
		return nil, err
	}
	return h.finish()
}

// arrived compares what a stream holds with what it should. Messages that expire by a TTL of their own, or by the max_age that
// was asked for, may be missing.
func (r *restore) arrived(t *target, st *state) error {
	want := r.built[t.from.Name]
	may := r.o.Expire && t.cfg.number("max_age") > 0 || t.cfg.yes("allow_msg_ttl")
	if st.LastSeq < want.state.LastSeq || st.Msgs < want.messages && !may && st.LastSeq == want.state.LastSeq {
		return fmt.Errorf("it holds %s up to %d, and should hold %d up to %d", count(st.Msgs), st.LastSeq, want.messages, want.state.LastSeq)
	}
	if st.Msgs < want.messages {
		r.remark(t, "%s of %d expired on arrival", count(want.messages-st.Msgs), want.messages)
	}
	t.res.Messages, t.res.FirstSeq, t.res.LastSeq = st.Msgs, st.FirstSeq, st.LastSeq
	return nil
}

// memory restores streams that are kept in memory: they have no files to hand over, and stand without their subjects until
// they are whole.
func (r *restore) memory(ctx context.Context, p *progress) error {
	any := false
	for _, t := range r.targets {
		any = any || t.cfg.text("storage") == "memory"
	}
	if !any {
		return nil
	}
	return r.each(ctx, func(t *target, packed packed, snap *snapshot) error {
		if t.cfg.text("storage") != "memory" {
			return nil
		}
		up, err := r.upload(ctx, t.name, t.cfg.hidden(), snap.State)
		if err != nil {
			return fmt.Errorf("stream %s: %w", t.name, noRoom(err, t))
		}
		t.made = true
		if _, err := (scan{again: io.MultiWriter(up, p.count(t.name))}).run(packed.data); err != nil {
			up.abandon()
			return fmt.Errorf("stream %s: %w", t.name, err)
		}
		st, err := up.finish()
		if err == nil {
			err = r.arrived(t, st)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", t.name, err)
		}
		r.remark(t, "in memory: duplicates of what it holds are not recognised")
		p.done()
		return nil
	})
}

// hidden is a configuration under which a stream takes no publishes and lets nothing expire.
func (c config) hidden() config {
	h := c.note(notedRestoring, time.Now().UTC().Format(time.RFC3339)).with(map[string]any{"max_age": 0, "subject_delete_marker_ttl": 0, "allow_msg_schedules": false})
	delete(h, "sources")
	delete(h, "republish")
	delete(h, "subject_transform")
	if c["mirror"] == nil {
		h["subjects"] = []string{"deltran-bus.restoring." + c.text("name")}
	}
	return h
}

// reveal gives streams in memory their own configuration.
func (r *restore) reveal(ctx context.Context) error {
	for _, t := range r.targets {
		if t.cfg.text("storage") == "memory" {
			if err := r.ask(ctx, "STREAM.UPDATE."+t.name, t.cfg, nil); err != nil {
				return fmt.Errorf("stream %s: %w", t.name, err)
			}
		}
	}
	return nil
}
