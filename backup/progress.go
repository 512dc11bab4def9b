package backup

import "sync"

// progress adds up what several streams say.
type progress struct {
	tell func(Progress)
	mu   sync.Mutex
	now  Progress
}

func newProgress(tell func(Progress), doing string, streams int) *progress {
	return &progress{tell: tell, now: Progress{Doing: doing, Streams: streams}}
}

func (p *progress) add(stream string, bytes int, done int) {
	if p.tell == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if stream != "" {
		p.now.Stream = stream
	}
	p.now.Bytes += uint64(bytes)
	p.now.Done += done
	p.tell(p.now)
}

func (p *progress) done() { p.add("", 0, 1) }

// count is a writer that counts for a stream.
func (p *progress) count(stream string) counter { return counter{p, stream} }

type counter struct {
	p      *progress
	stream string
}

func (c counter) Write(b []byte) (int, error) {
	c.p.add(c.stream, len(b), 0)
	return len(b), nil
}
