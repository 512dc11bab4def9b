package monitor

import (
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// The jetstream_* series: their names, and where in a Jsz their values are.

var serverKinds = []struct {
	*kind
	of func(*natsserver.JSInfo) float64
}{
	{gauge("jetstream_server_jetstream_disabled", "Whether JetStream is disabled: 1 if it is."),
		func(v *natsserver.JSInfo) float64 { return oneIf(v.Disabled) }},
	{gauge("jetstream_server_max_memory", "Bytes of memory that JetStream may use."),
		func(v *natsserver.JSInfo) float64 { return float64(v.Config.MaxMemory) }},
	{gauge("jetstream_server_max_storage", "Bytes of file storage that JetStream may use."),
		func(v *natsserver.JSInfo) float64 { return float64(v.Config.MaxStore) }},
	{gauge("jetstream_server_total_streams", "Streams in all accounts."),
		func(v *natsserver.JSInfo) float64 { return float64(v.Streams) }},
	{gauge("jetstream_server_total_consumers", "Consumers of all streams."),
		func(v *natsserver.JSInfo) float64 { return float64(v.Consumers) }},
	{gauge("jetstream_server_total_messages", "Messages stored in all streams."),
		func(v *natsserver.JSInfo) float64 { return float64(v.Messages) }},
	{gauge("jetstream_server_total_message_bytes", "Bytes stored in all streams."),
		func(v *natsserver.JSInfo) float64 { return float64(v.Bytes) }},
}

var accountKinds = []struct {
	*kind
	of func(*natsserver.AccountDetail) float64
}{
	{gauge("jetstream_account_max_memory", "Bytes of memory that are reserved for the account."),
		func(a *natsserver.AccountDetail) float64 { return float64(a.ReservedMemory) }},
	{gauge("jetstream_account_max_storage", "Bytes of file storage that are reserved for the account."),
		func(a *natsserver.AccountDetail) float64 { return float64(a.ReservedStore) }},
	{gauge("jetstream_account_memory_used", "Bytes of memory that the account's streams use."),
		func(a *natsserver.AccountDetail) float64 { return float64(a.Memory) }},
	{gauge("jetstream_account_storage_used", "Bytes of file storage that the account's streams use."),
		func(a *natsserver.AccountDetail) float64 { return float64(a.Store) }},
}

// streamKind has a value for streams of which it returns true.
type streamKind struct {
	*kind
	of func(*natsserver.StreamDetail) (float64, bool)
}

var streamKinds = []streamKind{
	{gauge("jetstream_stream_total_messages", "Messages stored in the stream."),
		func(s *natsserver.StreamDetail) (float64, bool) { return float64(s.State.Msgs), true }},
	{gauge("jetstream_stream_total_bytes", "Bytes stored in the stream."),
		func(s *natsserver.StreamDetail) (float64, bool) { return float64(s.State.Bytes), true }},
	{gauge("jetstream_stream_first_seq", "Sequence of the stream's first message."),
		func(s *natsserver.StreamDetail) (float64, bool) { return float64(s.State.FirstSeq), true }},
	{gauge("jetstream_stream_last_seq", "Sequence of the stream's last message."),
		func(s *natsserver.StreamDetail) (float64, bool) { return float64(s.State.LastSeq), true }},
	{gauge("jetstream_stream_consumer_count", "Consumers of the stream."),
		func(s *natsserver.StreamDetail) (float64, bool) { return float64(s.State.Consumers), true }},
	{gauge("jetstream_stream_subject_count", "Subjects of which the stream holds messages."),
		func(s *natsserver.StreamDetail) (float64, bool) { return float64(s.State.NumSubjects), true }},
	{gauge("jetstream_stream_limit_bytes", "Bytes that the stream may hold (max_bytes), -1 for no limit."),
		func(s *natsserver.StreamDetail) (float64, bool) {
			if s.Config == nil {
				return 0, false
			}
			return float64(s.Config.MaxBytes), true
		}},
	{gauge("jetstream_stream_limit_messages", "Messages that the stream may hold (max_msgs), -1 for no limit."),
		func(s *natsserver.StreamDetail) (float64, bool) {
			if s.Config == nil {
				return 0, false
			}
			return float64(s.Config.MaxMsgs), true
		}},
}

// consumerKind has a value for consumers of which it returns true.
type consumerKind struct {
	*kind
	of func(*natsserver.ConsumerInfo) (float64, bool)
}

var consumerKinds = []consumerKind{
	{gauge("jetstream_consumer_delivered_consumer_seq", "Consumer sequence of the last delivery."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return float64(c.Delivered.Consumer), true }},
	{gauge("jetstream_consumer_delivered_stream_seq", "Stream sequence of the last delivery."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return float64(c.Delivered.Stream), true }},
	{gauge("jetstream_consumer_ack_floor_consumer_seq", "Consumer sequence up to which everything is acknowledged."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return float64(c.AckFloor.Consumer), true }},
	{gauge("jetstream_consumer_ack_floor_stream_seq", "Stream sequence up to which everything is acknowledged."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return float64(c.AckFloor.Stream), true }},
	{gauge("jetstream_consumer_num_ack_pending", "Messages delivered and not acknowledged yet."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return float64(c.NumAckPending), true }},
	{gauge("jetstream_consumer_num_pending", "Messages not delivered yet."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return float64(c.NumPending), true }},
	{gauge("jetstream_consumer_num_redelivered", "Messages delivered more than once and not acknowledged yet."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return float64(c.NumRedelivered), true }},
	{gauge("jetstream_consumer_num_waiting", "Pull requests that wait for messages."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return float64(c.NumWaiting), true }},
	{gauge("jetstream_consumer_last_delivery_seconds", "Seconds since the last delivery; no series before the first one."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return ago(c.TimeStamp, c.Delivered.Last) }},
	{gauge("jetstream_consumer_last_ack_seconds", "Seconds since the last acknowledgement; no series before the first one."),
		func(c *natsserver.ConsumerInfo) (float64, bool) { return ago(c.TimeStamp, c.AckFloor.Last) }},
}

func ago(now time.Time, then *time.Time) (float64, bool) {
	if then == nil {
		return 0, false
	}
	return now.Sub(*then).Seconds(), true
}

var (
	sourceLag    = gauge("jetstream_stream_source_lag", "Messages that the stream is behind its source.")
	sourceActive = gauge("jetstream_stream_source_active_duration_ns", "Nanoseconds since the source was last active, -1 for never.")
	mirrorLag    = gauge("jetstream_stream_mirror_lag", "Messages that the stream is behind its mirror.")
	mirrorActive = gauge("jetstream_stream_mirror_active_duration_ns", "Nanoseconds since the mirror was last active, -1 for never.")
)
