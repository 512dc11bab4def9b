package monitor

import (
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

var (
	ourStreamLabels  = []string{"account", "stream"}
	ourConsumerLabel = []string{"consumer"}
)

// Points in time rather than ages: time() - x is the age at the moment of the query, also between two scrapes.
var ourStreamKinds = []streamKind{
	{gauge("deltran_bus_stream_first_timestamp_seconds", "When the stream's oldest message was stored; no series while it is empty."),
		func(s *natsserver.StreamDetail) (float64, bool) {
			return seconds(s.State.FirstTime), s.State.Msgs > 0 && !s.State.FirstTime.IsZero()
		}},
	{gauge("deltran_bus_stream_last_timestamp_seconds", "When the stream's newest message was stored; no series before the first one."),
		func(s *natsserver.StreamDetail) (float64, bool) {
			return seconds(s.State.LastTime), s.State.LastSeq > 0 && s.State.LastTime.Unix() > 0
		}},
	{gauge("deltran_bus_stream_deleted_messages", "Gaps between the first and the last sequence: messages deleted, expired or lost out of the middle."),
		func(s *natsserver.StreamDetail) (float64, bool) { return float64(s.State.NumDeleted), true }},
	{gauge("deltran_bus_stream_max_age_seconds", "How long the stream keeps a message (max_age), 0 for ever."),
		func(s *natsserver.StreamDetail) (float64, bool) {
			if s.Config == nil {
				return 0, false
			}
			return s.Config.MaxAge.Seconds(), true
		}},
}

var ourConsumerKinds = []consumerKind{
	{gauge("deltran_bus_consumer_last_delivery_timestamp_seconds", "When the consumer last got a message; no series before the first one."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return at(c.Delivered.Last) }},
	{gauge("deltran_bus_consumer_last_ack_timestamp_seconds", "When the consumer's ack floor last moved; no series before the first time."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return at(c.AckFloor.Last) }},
	{gauge("deltran_bus_consumer_max_ack_pending", "Unacknowledged messages at which delivery stops (max_ack_pending), -1 for no limit."),
		func(c *natsserver.ConsumerInfo) (float64, bool) {
			if c.Config == nil {
				return 0, false
			}
			return float64(c.Config.MaxAckPending), true
		}},
	{gauge("deltran_bus_consumer_paused", "1 while the consumer is paused."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return oneIf(c.Paused), true }},
}

func at(t *time.Time) (float64, bool) {
	if t == nil {
		return 0, false
	}
	return seconds(*t), true
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
