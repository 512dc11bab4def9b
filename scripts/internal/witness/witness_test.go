package witness

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// nats-server 2.15.2, shut down while a batch is under way, forgets the store it staged the batch in and the goroutines of it.
func TestMain(m *testing.M) {
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(server+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server+".(*msgBlock).flushLoop"), goleak.IgnoreAnyFunction(server+"/ats.Register.func1"))
}

// scene is a server with the streams, messages in each of them, and a client that does what must not go unnoticed.
type scene struct {
	*testing.T
	*Witness
	url string
	nc  *nats.Conn
	js  jetstream.JetStream
}

func newScene(t *testing.T, streams []Stream) scene {
	t.Helper()
	opts := &natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true}
	server, err := natsserver.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	s := scene{T: t, Witness: New(streams, nil), url: server.ClientURL()}
	if s.nc, err = nats.Connect(s.url); err == nil {
		s.js, err = jetstream.New(s.nc)
	}
	t.Cleanup(s.nc.Close)
	err = errors.Join(err, s.Create(t.Context(), s.js), s.Publish(t.Context(), s.url, 5), s.Take(t.Context(), s.url, 3))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s scene) stream(name string) jetstream.Stream {
	s.Helper()
	stream, err := s.js.Stream(s.Context(), name)
	s.must(err)
	return stream
}

// check is every look that there is.
func (s scene) check() Result {
	s.Helper()
	res, err := s.Check(s.Context(), s.url, Now, true)
	s.must(err)
	again, err := s.Repeat(s.Context(), s.url, Now)
	s.must(err)
	res.Add(again)
	return res
}

func TestFindsEverythingWhereItWas(t *testing.T) {
	t.Parallel()
	s := newScene(t, Streams(false, true))
	// 9 streams with 5, one with 5 batches of 10, one of which the consumer has had 2 of its 5 messages taken away, and one that forgets.
	if res := s.check(); res.Err() != nil || res.Acknowledged != 9*5+50+3+5 || s.Acknowledged(Now) != 105 {
		t.Errorf("%d of %d to be found; %v", res.Acknowledged, s.Acknowledged(Now), res.Err())
	}
	// What the server itself writes to a stream is not ours to judge.
	_, err := s.js.Publish(s.Context(), "events.audit.by.the.server", []byte("something else"))
	s.must(err)
	s.must(s.Drain(s.Context(), s.url, Now))
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	for left := uint64(1); left > 0; { // what is acknowledged goes a moment later
		info, err := s.stream("WORK").Info(ctx)
		s.must(err)
		left = info.State.Msgs
	}
	if err := s.check().Err(); err != nil {
		t.Error(err)
	}
}

// Nobody reads a test that finds nothing, so each kind of harm is done once, and has to be found.
func TestFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		harm func(scene)
		lost int
		says string
	}{
		{"a message in the middle is gone", func(s scene) { s.must(s.stream("AUDIT").DeleteMsg(s.Context(), 3)) },
			1, "stream AUDIT: 1 acknowledged messages are not there, such as 3"},
		{"the newest is gone", func(s scene) { s.must(s.stream("AUDIT").DeleteMsg(s.Context(), 5)) },
			1, "such as 5"},
		{"the oldest are gone", func(s scene) { s.must(s.stream("AUDIT").Purge(s.Context(), jetstream.WithPurgeSequence(3))) },
			2, "stream AUDIT has 3 messages from 3 to 5"},
		{"all are gone", func(s scene) { s.must(s.stream("BATCHES").Purge(s.Context())) },
			50, "50 acknowledged messages are not there"},
		{"the stream is gone", func(s scene) { s.must(s.js.DeleteStream(s.Context(), "AUDIT")) },
			5, "stream AUDIT is gone"},
		{"the stream was made anew, and other messages are in the place of the old", func(s scene) {
			config := s.stream("AUDIT").CachedInfo().Config
			s.must(s.js.DeleteStream(s.Context(), "AUDIT"))
			_, err := s.js.CreateStream(s.Context(), config)
			s.must(err)
			for n := range uint64(5) {
				_, err := s.js.Publish(s.Context(), "events.audit.power.cut", message{number: 1000 + n, size: 100}.data())
				s.must(err)
			}
		}, 5, "is another one than was acknowledged"},
		{"bytes are not those that were published", func(s scene) {
			data := message{number: 1 << 40, size: 100}.data()
			data[50]++
			_, err := s.js.Publish(s.Context(), "events.audit.power.cut", data)
			s.must(err)
		}, 0, "stream AUDIT: message 6: its bytes are not those that were published"},
		{"a message is there twice", func(s scene) {
			_, err := s.js.Publish(s.Context(), "events.audit.power.cut", s.streams[7].acks[2].data())
			s.must(err)
		}, 0, "twice, or out of order"},
		{"a message that was published again is stored again", func(s scene) {
			config := s.stream("PAYMENTS").CachedInfo().Config
			last := s.streams[8].acks[5]
			for n, deadline := 0, time.Now().Add(20*time.Second); time.Now().Before(deadline); n++ {
				config.Duplicates = 100*time.Millisecond + time.Duration(n%2)*time.Millisecond // nats-server may look before it knows the new one,
				_, err := s.js.UpdateStream(s.Context(), config)                               // and then after the old one has passed
				s.must(err)
				ack, err := s.js.PublishMsg(s.Context(), &nats.Msg{Subject: "witness.payments", Data: last.data()}, jetstream.WithMsgID("other"))
				s.must(err)
				if !ack.Duplicate && ack.Sequence > 6 {
					return // the window has passed
				}
			}
			s.Fatal("a window of 100 ms does not pass")
		}, 0, "was published again and stored twice"},
		{"a consumer is gone", func(s scene) { s.must(s.js.DeleteConsumer(s.Context(), "TRANSACTIONS", Consumer)) },
			0, "consumer TRANSACTIONS/witness"},
		{"a consumer skips", func(s scene) {
			s.must(s.js.DeleteConsumer(s.Context(), "TRANSACTIONS", Consumer))
			_, err := s.js.CreateConsumer(s.Context(), "TRANSACTIONS", jetstream.ConsumerConfig{Durable: Consumer,
				AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 4})
			s.must(err)
		}, 0, "consumer TRANSACTIONS/witness has 2 messages to come, and 3 were not acknowledged"},
		{"work that was not done is gone", func(s scene) { s.must(s.stream("WORK").Purge(s.Context())) },
			3, "stream WORK: 3 acknowledged messages are not there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, Streams(false, false))
			if err := s.check().Err(); err != nil {
				t.Fatalf("before: %v", err)
			}
			c.harm(s)
			res := s.check()
			if res.Lost != c.lost || !strings.Contains(strings.Join(res.Problems, "\n"), c.says) {
				t.Errorf("%d lost, not %d; %q", res.Lost, c.lost, res.Problems)
			}
		})
	}
}

// Drain waits for what a consumer skips, and says so.
func TestDrainFindsWhatIsSkipped(t *testing.T) {
	t.Parallel()
	s := newScene(t, Streams(false, false)[:1])
	s.must(s.js.DeleteConsumer(s.Context(), "TRANSACTIONS", Consumer))
	_, err := s.js.CreateConsumer(s.Context(), "TRANSACTIONS", jetstream.ConsumerConfig{Durable: Consumer,
		AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverLastPolicy})
	s.must(err)
	s.patience = 2
	err = s.Drain(s.Context(), s.url, Now)
	if err == nil || !strings.Contains(err.Error(), "2 messages that it has not acknowledged do not come") {
		t.Errorf("%v", err)
	}
}

// What was acknowledged after a cut need not be there, and what a stream discards for newer messages neither.
func TestOnlyWhatWasPromised(t *testing.T) {
	t.Parallel()
	clock := 0
	s := newScene(t, Streams(false, true)[11:])
	s.Rewind(Now, func() int { return clock })
	clock = 7
	s.must(s.Publish(s.Context(), s.url, 200))
	if res := s.check(); res.Err() != nil || res.Acknowledged != 100 {
		t.Errorf("%d to be found; %v", res.Acknowledged, res.Err())
	}
	if got := s.Acknowledged(6); got != 5 {
		t.Errorf("%d were acknowledged before", got)
	}
	if res, err := s.Check(t.Context(), s.url, 6, true); err != nil || res.Err() != nil || res.Acknowledged != 0 {
		t.Errorf("%+v, %v", res, err) // the five are among the discarded
	}
	s.must(s.js.DeleteStream(s.Context(), "RECENT"))
	if res := s.check(); res.Lost != 205 {
		t.Errorf("%d lost with their stream", res.Lost)
	}
	s.Rewind(6, nil)
	if res := s.check(); res.Lost != 5 {
		t.Errorf("%d lost of those from before the cut", res.Lost)
	}
}

// Under load a server ends, and starts again: what was on its way with an id is published again and stored once.
func TestLoadAcrossRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := New(Streams(false, true), nil)
	for range 3 {
		server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true, MaxPayload: 8 << 20})
		if err != nil {
			t.Fatal(err)
		}
		server.Start()
		url := server.ClientURL()
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Create(t.Context(), js); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		had := w.Acknowledged(Now)
		ended := make(chan error, 1)
		go func() { ended <- w.Load(context.Background(), url) }()
		for w.Acknowledged(Now) < had+500 {
			time.Sleep(time.Millisecond)
		}
		server.Shutdown()
		server.WaitForShutdown()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	defer server.Shutdown()
	res, err := w.Check(t.Context(), server.ClientURL(), Now, true)
	if err != nil || res.Err() != nil {
		t.Errorf("%v, %v", res.Err(), err)
	}
	if res.Acknowledged < 1000 {
		t.Errorf("%d acknowledged", res.Acknowledged)
	}
}
