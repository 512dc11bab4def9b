package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// jetstreamAPI is nats.go as new services use it.
func jetstreamAPI(ctx context.Context, s *session) error {
	nc, err := nats.Connect(s.Client)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}

	s.check("eight streams stand", standing(ctx, js))
	s.check("names of three and four parts are stored, each in its stream", publishAll(func(subject string) (string, error) {
		ack, err := js.Publish(ctx, subject, newEvent())
		if err != nil {
			return "", err
		}
		return ack.Stream, nil
	}))
	s.check("events.clearing.window.opened reads back as it was published", readBack(ctx, js))
	s.check("a name that no stream holds is refused", refused(js.Publish(ctx, "events.unknown.created", newEvent())))
	for _, c := range consumers {
		s.check(c.name+" is declared as specified", declared(ctx, js, c))
		s.check("pull "+c.name+", both forms, and ack", pullAndAck(ctx, js, c))
		s.check(c.name+" delivers three times and no more", threeDeliveries(ctx, nc, js, c))
	}
	return nil
}

func standing(ctx context.Context, js jetstream.JetStream) error {
	var found []string
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		found = append(found, name)
	}
	slices.Sort(found)
	return errors.Join(names.Err(), same("streams", strings.Join(found, " "), strings.Join(slices.Sorted(slices.Values(streams)), " ")))
}

// publishAll publishes both names of every stream.
func publishAll(publish func(subject string) (stream string, err error)) error {
	for _, want := range streams {
		for _, subject := range names(strings.ToLower(want)) {
			stream, err := publish(subject)
			if err != nil {
				return fmt.Errorf("%s: %w", subject, err)
			}
			if err := same(subject, stream, want); err != nil {
				return err
			}
		}
	}
	return nil
}

func readBack(ctx context.Context, js jetstream.JetStream) error {
	const subject = "events.clearing.window.opened"
	event := newEvent()
	if _, err := js.Publish(ctx, subject, event); err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "CLEARING")
	if err != nil {
		return err
	}
	stored, err := stream.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return err
	}
	if !bytes.Equal(stored.Data, event) {
		return fmt.Errorf("stored as %s", stored.Data)
	}
	return nil
}

func refused(_ *jetstream.PubAck, err error) error {
	if !errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("got %v, want %v", err, jetstream.ErrNoStreamResponse)
	}
	return nil
}

func declared(ctx context.Context, js jetstream.JetStream, c consumer) error {
	con, err := js.Consumer(ctx, c.stream, c.name)
	if err != nil {
		return err
	}
	cfg := con.CachedInfo().Config
	return errors.Join(
		same("ack policy", cfg.AckPolicy, jetstream.AckExplicitPolicy),
		same("deliver policy", cfg.DeliverPolicy, jetstream.DeliverAllPolicy),
		same("max deliver", cfg.MaxDeliver, maxDeliver),
		same("ack wait", cfg.AckWait, c.ackWait))
}

func pullAndAck(ctx context.Context, js jetstream.JetStream, c consumer) error {
	con, err := js.Consumer(ctx, c.stream, c.name)
	if err != nil {
		return err
	}
	batch, err := con.Fetch(2, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		return err
	}
	var got []string
	for msg := range batch.Messages() {
		got = append(got, msg.Subject())
		if err := msg.DoubleAck(ctx); err != nil {
			return err
		}
	}
	info, err := con.Info(ctx)
	if err != nil {
		return err
	}
	return errors.Join(batch.Error(),
		same("subjects", strings.Join(got, " "), strings.Join(names(strings.ToLower(c.stream)), " ")),
		same("unacknowledged", info.NumAckPending, 0),
		same("pending", info.NumPending, 0))
}

func threeDeliveries(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, c consumer) error {
	advisories, err := nc.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + c.stream + "." + c.name)
	if err != nil {
		return err
	}
	defer func() { _ = advisories.Unsubscribe() }()
	con, err := js.Consumer(ctx, c.stream, c.name)
	if err != nil {
		return err
	}
	ack, err := js.Publish(ctx, "events."+strings.ToLower(c.stream)+".failed", newEvent())
	if err != nil {
		return err
	}
	for delivery := uint64(1); delivery <= maxDeliver; delivery++ {
		msg, err := con.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			return fmt.Errorf("delivery %d: %w", delivery, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if err := errors.Join(
			same("sequence", meta.Sequence.Stream, ack.Sequence),
			same("delivery", meta.NumDelivered, delivery),
			msg.Nak()); err != nil {
			return err
		}
	}
	if _, err := con.Next(jetstream.FetchMaxWait(time.Second)); !errors.Is(err, nats.ErrTimeout) {
		return fmt.Errorf("a fourth delivery: %v", err)
	}
	msg, err := advisories.NextMsg(5 * time.Second)
	if err != nil {
		return fmt.Errorf("advisory: %w", err)
	}
	var given struct {
		StreamSeq  uint64 `json:"stream_seq"`
		Deliveries int    `json:"deliveries"`
	}
	return errors.Join(json.Unmarshal(msg.Data, &given),
		same("advisory's sequence", given.StreamSeq, ack.Sequence),
		same("advisory's deliveries", given.Deliveries, maxDeliver))
}

// legacyAPI is nats.go as the specification's Go consumer uses it: nc.JetStream() and PullSubscribe by subject. Its call
// names the durable twice, which nats.go refuses; without the second it has to bind to the consumer that stands.
func legacyAPI(_ context.Context, s *session) error {
	nc, err := nats.Connect(s.Client)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		return err
	}
	s.check("names of three and four parts are stored, each in its stream", publishAll(func(subject string) (string, error) {
		ack, err := js.Publish(subject, newEvent())
		if err != nil {
			return "", err
		}
		return ack.Stream, nil
	}))
	for _, c := range consumers {
		before, err := js.ConsumerInfo(c.stream, c.name)
		if err != nil {
			return err
		}
		sub, err := js.PullSubscribe(c.filter, c.name)
		if !s.check(fmt.Sprintf("PullSubscribe %s binds to %s", c.filter, c.name), err) {
			continue
		}
		s.check("pull "+c.name+", both forms, and ack", fetchAndAck(sub, c))
		s.check(c.name+" is the consumer that stood before", stillThere(js, before, c))
	}
	return nil
}

func fetchAndAck(sub *nats.Subscription, c consumer) error {
	var got []string
	for len(got) < 2 { // Fetch may return with fewer
		msgs, err := sub.Fetch(2-len(got), nats.MaxWait(5*time.Second))
		if err != nil {
			return err
		}
		for _, msg := range msgs {
			got = append(got, msg.Subject)
			if err := msg.AckSync(); err != nil {
				return err
			}
		}
	}
	return same("subjects", strings.Join(got, " "), strings.Join(names(strings.ToLower(c.stream)), " "))
}

func stillThere(js nats.JetStreamContext, before *nats.ConsumerInfo, c consumer) error {
	after, err := js.ConsumerInfo(c.stream, c.name)
	if err != nil {
		return err
	}
	return errors.Join(
		same("created", after.Created, before.Created),
		same("filters", strings.Join(after.Config.FilterSubjects, " "), strings.Join(before.Config.FilterSubjects, " ")),
		same("unacknowledged", after.NumAckPending, 0),
		same("pending", after.NumPending, 0))
}
