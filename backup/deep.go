package backup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
)

// VerifyDeep is Verify, and then restores every stream into a throwaway nats-server, reads it back, and compares every
// message, by the digest over all of them, and how far every durable consumer is. It needs room for the streams in Temp.
func VerifyDeep(ctx context.Context, name string, o VerifyOptions) (*Manifest, error) {
	src, err := open(name, o.Stdin, o.Temp)
	if err != nil {
		return nil, err
	}
	defer src.close()
	m, err := checked(ctx, src, o.Progress)
	if err != nil {
		return nil, err
	}
	to := map[string]string{}
	for _, s := range m.Streams {
		to[s.Name] = s.Name
	}
	w, built, err := rebuild(ctx, src, m, to, o)
	if err != nil {
		return nil, err
	}
	w.remove()
	for i := range m.Streams {
		if s := &m.Streams[i]; s.Digest == "" { // only nats-server could read it
			s.Digest, s.Consumers = built[s.Name].digest, built[s.Name].names
		}
	}
	return m, nil
}

// checked is the manifest of a source that is whole. Of an archive the seal says it, and everything in it is looked at while it
// is rebuilt; of a folder everything is.
func checked(ctx context.Context, src source, tell func(Progress)) (*Manifest, error) {
	p := newProgress(tell, "checking", 0)
	if a, ok := src.(*archiveFile); ok {
		return a.sealed(ctx, p)
	}
	return (&check{ctx: ctx, progress: p}).run(src)
}

// soon is how long a message must have to live by its own TTL to be compared: those that may expire while it is looked at
// are not.
const soon = time.Hour

// rebuild restores the streams of a verified source that to names, each under the name that it has there, and compares
// what came of them. The caller removes the workshop.
func rebuild(ctx context.Context, src source, m *Manifest, to map[string]string, o VerifyOptions) (_ *workshop, built map[string]*content, err error) {
	if err := roomFor(m, to, o); err != nil {
		return nil, nil, err
	}
	w, err := newWorkshop(o.Temp)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			w.remove()
		}
	}()
	want, built := map[string]*content{}, map[string]*content{}
	legacy := map[string]bool{}
	expired := time.Now().Add(soon)
	again, err := (&check{
		ctx: ctx, progress: newProgress(o.Progress, "rebuilding", len(to)), expired: expired,
		wants: func(name string) bool { return to[name] != "" },
		also: func(p packed, _ state) error {
			legacy[p.name] = p.legacy
			if err := w.build(ctx, to[p.name], p); err != nil {
				return fmt.Errorf("stream %s: nats-server cannot restore it: %w", p.name, err)
			}
			return nil
		},
		after: func(name string, found *content) error { want[name] = found; return nil },
	}).run(src)
	if err != nil {
		return nil, nil, err
	}
	if !slices.EqualFunc(again.Streams, m.Streams, func(a, b Stream) bool { return a.Name == b.Name && slices.Equal(a.Parts, b.Parts) }) {
		return nil, nil, bad("the file", "it changed while it was read")
	}
	for _, name := range slices.Sorted(maps.Keys(to)) {
		got, err := w.look(ctx, to[name], expired)
		if err != nil {
			return nil, nil, fmt.Errorf("stream %s: reading back what was rebuilt: %w", name, err)
		}
		if err := equal(want[name], got, legacy[name]); err != nil {
			return nil, nil, bad("stream "+name, "what was rebuilt from it is not what was in it: %w", err)
		}
		if built[name] = want[name]; legacy[name] {
			built[name] = got
		}
	}
	return w, built, nil
}

// roomFor is an error if the folder in which streams are rebuilt has not enough room for them.
func roomFor(m *Manifest, to map[string]string, o VerifyOptions) error {
	need := uint64(64 << 20)
	for _, s := range m.Streams {
		if to[s.Name] != "" {
			need += s.Bytes + s.Bytes/8
		}
	}
	if o.Free == nil {
		return nil
	}
	if free, err := o.Free(o.Temp); err == nil && free < need {
		return fmt.Errorf("%s has %s free, and rebuilding needs some %s; name another folder with --tmp", o.Temp, humanize.IBytes(free), humanize.IBytes(need))
	}
	return nil
}

// equal compares what was in an archive with what came of it.
func equal(want, got *content, legacy bool) error {
	if got.state.LastSeq != want.state.LastSeq {
		return fmt.Errorf("it ends with message %d, not %d", got.state.LastSeq, want.state.LastSeq)
	}
	if legacy { // what was in it could not be read without nats-server
		if got.messages != want.state.Msgs {
			return fmt.Errorf("it has %d messages, and its state counts %d", got.messages, want.state.Msgs)
		}
		return nil
	}
	if got.lasting != want.lasting {
		return fmt.Errorf("its %d messages have the digest %s, those in the archive, %d, have %s", got.messages, got.lasting, want.messages, want.lasting)
	}
	for _, name := range sorted(want.consumers) {
		w, g := want.consumers[name], got.consumers[name]
		if w.Config.Durable == "" {
			continue // gone with the client whose it was
		}
		if g.State.Delivered != w.State.Delivered || g.State.AckFloor != w.State.AckFloor ||
			!maps.Equal(g.State.Pending, w.State.Pending) || !maps.Equal(g.State.Redelivered, w.State.Redelivered) {
			return fmt.Errorf("consumer %s is at %+v, and was at %+v", name, g.State, w.State)
		}
	}
	return nil
}
