package backup

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"
)

// state is what JetStream says of a stream's content.
type state struct {
	Msgs      uint64    `json:"messages"`
	Bytes     uint64    `json:"bytes"`
	FirstSeq  uint64    `json:"first_seq"`
	FirstTime time.Time `json:"first_ts"`
	LastSeq   uint64    `json:"last_seq"`
	LastTime  time.Time `json:"last_ts"`
	Deleted   []uint64  `json:"deleted"`
	Consumers int       `json:"consumer_count"`
	Lost      *struct {
		Bytes uint64 `json:"bytes"`
	} `json:"lost"`
}

// consumerState is a consumer as a snapshot has it. What else stands in it is kept by again.
type consumerState struct {
	Config struct {
		Durable string `json:"durable_name"`
	} `json:"config"`
	State progressOf `json:"state"`
}

// progressOf is how far a consumer is.
type progressOf struct {
	Delivered   sequences          `json:"delivered"`
	AckFloor    sequences          `json:"ack_floor"`
	Pending     map[uint64]pending `json:"pending,omitempty"`
	Redelivered map[uint64]uint64  `json:"redelivered,omitempty"`
}

type sequences struct {
	Consumer uint64 `json:"consumer_seq"`
	Stream   uint64 `json:"stream_seq"`
}

type pending struct {
	Sequence  uint64 // of the consumer
	Timestamp int64
}

// since is the same progress in a stream that begins at first. A consumer that has not acknowledged messages which are gone
// by now would lose its whole state in a restore: nats-server 2.15.2 takes it for older than a new consumer's, which
// begins at first, and leaves it out without a word.
func (p progressOf) since(first uint64) progressOf {
	if first == 0 || p.AckFloor.Stream >= first-1 {
		return p
	}
	p.AckFloor.Stream = first - 1
	p.Delivered.Stream = max(p.Delivered.Stream, first-1)
	p.Pending, p.Redelivered = maps.Clone(p.Pending), maps.Clone(p.Redelivered)
	maps.DeleteFunc(p.Pending, func(seq uint64, _ pending) bool { return seq < first })
	maps.DeleteFunc(p.Redelivered, func(seq, _ uint64) bool { return seq < first })
	p.AckFloor.Consumer = p.Delivered.Consumer
	for _, at := range p.Pending {
		p.AckFloor.Consumer = min(p.AckFloor.Consumer, at.Sequence-1)
	}
	return p
}

// content is what was found in a stream's data.
type content struct {
	state     state
	names     []string // of the consumers
	consumers map[string]consumerState
	messages  uint64
	first     uint64 // sequences; 0 without messages
	last      uint64
	firstTime time.Time
	lastTime  time.Time
	digest    string // over every message
	lasting   string // over those that are not about to expire by a time of their own
}

// Limits of what a reader keeps in memory, far above what nats-server writes.
const (
	maxHeaders  = 1 << 20
	maxConsumer = 256 << 20
	maxSubject  = 1 << 16
)

// A scan reads a stream's data to its end, in constant memory but for the consumers.
type scan struct {
	expired time.Time        // messages that their own TTL ends before do not count for lasting; zero: that is not made
	seen    func(seq uint64) // is called for every message; may be nil
	again   io.Writer        // gets the same data, in a form that nats-server restores without losing a consumer's state; may be nil

	unpacked func(io.Reader) io.Reader // what is read through when it is unpacked; may be nil

	*content
	in  *archive.Reader
	out *archive.Writer
}

func (s scan) run(r io.Reader) (*content, error) {
	r = s2.NewReader(bufio.NewReaderSize(r, 64<<10), s2.ReaderAllocBlock(64<<10))
	if s.unpacked != nil {
		r = s.unpacked(r)
	}
	s.in = archive.NewReader(bufio.NewReaderSize(r, 64<<10))
	s.content = &content{consumers: map[string]consumerState{}}
	end := func() error { return nil }
	if s.again != nil {
		z := s2.NewWriter(s.again, s2.WriterUncompressed(), s2.WriterConcurrency(1))
		s.out, end = archive.NewWriter(z), z.Close
	}
	if err := s.head(); err != nil {
		return nil, err
	}
	if err := s.messagesOf(); err != nil {
		return nil, err
	}
	if _, err := s.in.Next(); err != io.EOF {
		return nil, errors.New("more stands behind the end")
	}
	if s.messages > s.state.Msgs {
		return nil, fmt.Errorf("it holds %d messages, and its state counts %d", s.messages, s.state.Msgs)
	}
	return s.content, end()
}

func (s *scan) messagesOf() error {
	all, lasting := newHash(), newHash()
	hashed := []io.Writer{all, lasting}
	sinks := make([]io.Writer, 0, 3)
	body := struct{ io.Reader }{s.in}
	record := make([]byte, 0, 64<<10) // what of a message is hashed at once
	buf := make([]byte, 32<<10)
	for {
		h, err := s.in.Next()
		if err != nil {
			return cutAt(err, "behind message %d", s.last)
		}
		if h.Sequence == 0 {
			if *h != (archive.Header{}) {
				return fmt.Errorf("a part %q stands where a message should", h.Name)
			}
			s.digest, s.lasting = digestOf(all.Sum(nil)), digestOf(lasting.Sum(nil))
			return s.emit(h, nil)
		}
		if h.Sequence <= s.last || h.Sequence < s.state.FirstSeq || h.Sequence > s.state.LastSeq {
			return fmt.Errorf("message %d stands behind message %d, in a stream from %d to %d", h.Sequence, s.last, s.state.FirstSeq, s.state.LastSeq)
		}
		if h.HeaderSize > maxHeaders || len(h.Name) > maxSubject {
			return fmt.Errorf("message %d has %d bytes of headers and a subject of %d", h.Sequence, h.HeaderSize, len(h.Name))
		}
		record = digested(record[:0], h)
		begin := len(record)
		first := h.HeaderSize // read at once: the headers, and a payload that is not large
		if h.PayloadSize <= int64(cap(buf)) {
			first += h.PayloadSize
		}
		record = slices.Grow(record, int(first))[:begin+int(first)]
		if _, err := io.ReadFull(s.in, record[begin:]); err != nil {
			return cutAt(err, "in message %d", h.Sequence)
		}
		if err := s.emit(h, record[begin:]); err != nil {
			return err
		}
		sinks = append(sinks[:0], hashed[0])
		if !s.expired.IsZero() && !expires(h, record[begin:begin+int(h.HeaderSize)]).Before(s.expired) {
			sinks = append(sinks, hashed[1])
		}
		for _, w := range sinks {
			w.Write(record)
		}
		if rest := h.HeaderSize + h.PayloadSize - first; rest > 0 {
			if s.out != nil {
				sinks = append(sinks, s.out)
			}
			if n, err := io.CopyBuffer(io.MultiWriter(sinks...), body, buf); err != nil || n != rest {
				return cutAt(errors.Join(err, io.ErrUnexpectedEOF), "in message %d", h.Sequence)
			}
		}
		s.count(h)
		if s.seen != nil {
			s.seen(h.Sequence)
		}
	}
}

func (c *content) count(h *archive.Header) {
	at := time.Unix(0, h.Timestamp).UTC()
	if c.messages++; c.messages == 1 {
		c.first, c.firstTime = h.Sequence, at
	}
	c.last, c.lastTime = h.Sequence, at
}

// emit writes the beginning of a part again.
func (s *scan) emit(h *archive.Header, begin []byte) error {
	if s.out == nil {
		return nil
	}
	if err := s.out.WriteHeader(h); err != nil {
		return err
	}
	_, err := s.out.Write(begin)
	return err
}

// head reads what stands before the messages: the state and the consumers.
func (s *scan) head() error {
	h, err := s.in.Next()
	if err != nil {
		return cutAt(err, "at its beginning")
	}
	if h.Name != "state.json" {
		return fmt.Errorf("%q stands where the state should", h.Name)
	}
	b, err := s.part(h, &s.state)
	if err == nil && s.state.FirstSeq == 0 { // never used: nats-server 2.15.2 would let its consumers begin at message 2⁶⁴-1
		b, err = set(b, "first_seq", 1)
		h.PayloadSize = int64(len(b))
	}
	if err == nil {
		err = s.emit(h, b)
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	for range s.state.Consumers {
		h, err := s.in.Next()
		if err != nil {
			return cutAt(err, "among the consumers")
		}
		name, ok := strings.CutPrefix(h.Name, "consumers/")
		if !ok {
			return fmt.Errorf("%q stands where a consumer should", h.Name)
		}
		if err := s.consumer(name, h); err != nil {
			return fmt.Errorf("consumer %s: %w", name, err)
		}
	}
	return nil
}

func (s *scan) consumer(name string, h *archive.Header) error {
	var c consumerState
	b, err := s.part(h, &c)
	if err != nil {
		return err
	}
	c.State = c.State.since(s.state.FirstSeq)
	s.names, s.consumers[name] = append(s.names, name), c
	if s.out == nil {
		return nil
	}
	if b, err = set(b, "state", c.State); err != nil {
		return err
	}
	h.PayloadSize = int64(len(b))
	return s.emit(h, b)
}

// set sets one field of a JSON object and leaves the others as they are.
func set(object []byte, field string, v any) ([]byte, error) {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(object, &whole); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	whole[field] = b
	return json.Marshal(whole)
}

// part reads a part that is JSON.
func (s *scan) part(h *archive.Header, v any) ([]byte, error) {
	if h.PayloadSize > maxConsumer || h.HeaderSize != 0 {
		return nil, fmt.Errorf("is %d bytes long", h.PayloadSize)
	}
	b, err := io.ReadAll(s.in)
	if err != nil {
		return nil, err
	}
	return b, json.Unmarshal(b, v)
}

// cutAt words the end of data that should have gone on, if what it stands in does not say what is wrong with it.
func cutAt(err error, format string, args ...any) error {
	if errors.Is(err, ErrBad) {
		return err
	}
	return fmt.Errorf("it ends or is unreadable "+format+": %w", append(args, err)...)
}

// digested appends what a digest takes of a message but for headers and payload, which follow: its sequence, its time in
// nanoseconds since 1970, and the lengths of subject, headers and payload, as 64-bit numbers, the high byte first; and the
// subject.
func digested(b []byte, h *archive.Header) []byte {
	b = binary.BigEndian.AppendUint64(b, h.Sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Timestamp))
	b = binary.BigEndian.AppendUint64(b, uint64(len(h.Name)))
	b = binary.BigEndian.AppendUint64(b, uint64(h.HeaderSize))
	b = binary.BigEndian.AppendUint64(b, uint64(h.PayloadSize))
	return append(b, h.Name...)
}

// never is when a message without a TTL of its own expires.
var never = time.Unix(1<<40, 0)

// expires is when a message expires by its Nats-TTL header, whatever its stream's max_age: nats-server restores none that
// has.
func expires(h *archive.Header, headers []byte) time.Time {
	i := bytes.Index(headers, []byte("\r\nNats-TTL:"))
	if i < 0 {
		return never
	}
	v, _, _ := bytes.Cut(headers[i+len("\r\nNats-TTL:"):], []byte("\r\n"))
	ttl := strings.TrimSpace(string(v))
	d, err := time.ParseDuration(ttl)
	if err != nil {
		n, err := strconv.ParseInt(ttl, 10, 64)
		if err != nil {
			return never // "never" among others
		}
		d = time.Duration(n) * time.Second
	}
	return time.Unix(0, h.Timestamp).Add(d)
}
