package bootstrap

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// refuseStream says why JetStream would refuse a normalised config as a whole; empty if it would not. These are the
// combinations that holding back a field can bring about, and those in which a create cannot succeed (nats-server
// stream.go checkStreamCfg).
func refuseStream(c jetstream.StreamConfig) string {
	discardNew := c.Discard == jetstream.DiscardNew
	switch {
	case c.MaxAge != 0 && c.MaxAge < 100*time.Millisecond:
		return "max_age is below 100ms"
	case c.MaxAge > 0 && c.Duplicates > c.MaxAge:
		return "duplicate_window is longer than max_age"
	case c.Duplicates != 0 && c.Duplicates < 100*time.Millisecond:
		return "duplicate_window is below 100ms"
	case c.DenyPurge && c.AllowRollup:
		return "allow_rollup_hdrs needs deny_purge to be off"
	case c.AllowMsgCounter && (discardNew || c.AllowMsgTTL || c.AllowMsgSchedules || c.Retention != jetstream.LimitsPolicy):
		return "a counter goes with discard old, retention limits, no message TTLs and no schedules only"
	case c.DiscardNewPerSubject && (!discardNew || c.MaxMsgsPerSubject <= 0):
		return "discard_new_per_subject needs discard new and max_msgs_per_subject"
	case c.SubjectDeleteMarkerTTL != 0 && c.SubjectDeleteMarkerTTL < time.Second:
		return "subject_delete_marker_ttl is below 1s"
	case c.AllowMsgSchedules && discardNew && !c.Sealed: // a sealed one is made so after the check
		return "schedules do not go with discard new"
	case c.AllowMsgSchedules && len(c.Sources) > 0:
		return "schedules do not go with sources"
	case c.PersistMode == jetstream.AsyncPersistMode && (c.Storage != jetstream.FileStorage || c.Replicas > 1 || c.AllowAtomicPublish):
		return "persist_mode async goes with file storage, one replica and without allow_atomic only"
	case c.Mirror != nil:
		return refuseMirror(c)
	}
	return refuseSubjects(c)
}

func refuseMirror(c jetstream.StreamConfig) string {
	switch {
	case c.FirstSeq > 0, len(c.Subjects) > 0, len(c.Sources) > 0, c.AllowMsgCounter, c.AllowAtomicPublish, c.AllowBatchPublish,
		c.AllowMsgSchedules, c.SubjectDeleteMarkerTTL > 0:
		return "a mirror has no subjects, sources, first_seq, counter, batches, schedules or delete markers"
	case c.Mirror.FilterSubject != "" && len(c.Mirror.SubjectTransforms) > 0:
		return "a mirror has a filter or subject transforms, not both"
	}
	return ""
}

func refuseSubjects(c jetstream.StreamConfig) string {
	for i, s := range c.Subjects {
		if !natsserver.IsValidSubject(s) {
			return strconv.Quote(s) + " is not a subject"
		}
		if s == ">" && !c.NoAck {
			return `">" captures everything, which needs no_ack`
		}
		for _, t := range c.Subjects[i+1:] {
			if natsserver.SubjectsCollide(s, t) {
				return fmt.Sprintf("subject %q overlaps %q", s, t)
			}
		}
		if r := c.RePublish; r != nil && natsserver.SubjectsCollide(r.Destination, s) {
			return fmt.Sprintf("republish to %q would come back as %q", r.Destination, s)
		}
	}
	return ""
}

// refuseCreate adds what is refused of a new stream only.
func refuseCreate(c jetstream.StreamConfig, clustered bool) string {
	switch {
	case c.Sealed:
		return "a stream cannot be created sealed"
	case c.MirrorDirect && c.Mirror == nil:
		return "mirror_direct needs a mirror"
	case c.Replicas > 1 && !clustered:
		return "more than one replica needs a cluster"
	}
	return refuseStream(c)
}

// refuseConsumer is the same for a consumer of a normalised stream (nats-server consumer.go checkConsumerCfg).
func refuseConsumer(c jetstream.ConsumerConfig, s jetstream.StreamConfig) string {
	l := s.ConsumerLimits
	push := c.DeliverSubject != ""
	switch {
	case c.Replicas > s.Replicas:
		return "more replicas than its stream"
	case s.Retention != jetstream.LimitsPolicy && c.Replicas != 0 && c.Replicas != s.Replicas:
		return "on an interest or work queue stream a consumer has the stream's replicas"
	case len(c.BackOff) > 0 && c.MaxDeliver > 0 && len(c.BackOff) > c.MaxDeliver:
		return "backoff has more steps than max_deliver"
	case l.MaxAckPending > 0 && c.MaxAckPending > l.MaxAckPending:
		return "max_ack_pending is beyond the stream's consumer_limits"
	case l.InactiveThreshold > 0 && c.InactiveThreshold > l.InactiveThreshold:
		return "inactive_threshold is beyond the stream's consumer_limits"
	case push && c.PriorityPolicy != jetstream.PriorityPolicyNone:
		return "a push consumer has no priority groups"
	case c.PriorityPolicy != jetstream.PriorityPolicyNone && len(c.PriorityGroups) == 0:
		return "priority_policy needs priority_groups"
	case c.PriorityPolicy == jetstream.PriorityPolicyNone && (len(c.PriorityGroups) > 0 || c.PinnedTTL > 0):
		return "priority_groups and priority_timeout need a priority_policy"
	case push && c.MaxWaiting != 0:
		return "a push consumer has no max_waiting"
	case push && c.MaxAckPending > 0 && c.AckPolicy == jetstream.AckNonePolicy:
		return "max_ack_pending needs an ack policy"
	case !push && (c.RateLimit > 0 || c.IdleHeartbeat > 0 || c.FlowControl):
		return "rate limit, heartbeat and flow control are for push consumers"
	case c.FlowControl && c.IdleHeartbeat == 0:
		return "flow control needs a heartbeat"
	case !push && c.AckPolicy == jetstream.AckFlowControlPolicy:
		return "ack policy flow_control is for push consumers"
	case c.AckPolicy == jetstream.AckFlowControlPolicy && (c.MaxAckPending <= 0 || c.AckWait != 0 || len(c.BackOff) > 0 || c.MaxDeliver > 0):
		return "ack policy flow_control has max_ack_pending, but no ack_wait, backoff or max_deliver"
	case s.Retention == jetstream.WorkQueuePolicy && c.AckPolicy != jetstream.AckExplicitPolicy && c.AckPolicy != jetstream.AckFlowControlPolicy:
		return "a work queue needs ack policy explicit"
	case s.Retention == jetstream.WorkQueuePolicy && c.DeliverPolicy != jetstream.DeliverAllPolicy:
		return "a work queue needs deliver policy all"
	}
	return refuseStart(c)
}

func refuseStart(c jetstream.ConsumerConfig) string {
	bySeq, byTime := c.DeliverPolicy == jetstream.DeliverByStartSequencePolicy, c.DeliverPolicy == jetstream.DeliverByStartTimePolicy
	switch {
	case bySeq != (c.OptStartSeq > 0):
		return "opt_start_seq and deliver_policy by_start_sequence need each other"
	case byTime != (c.OptStartTime != nil):
		return "opt_start_time and deliver_policy by_start_time need each other"
	case c.DeliverPolicy == jetstream.DeliverLastPerSubjectPolicy && len(c.FilterSubjects) == 0:
		return "deliver_policy last_per_subject needs a filter"
	}
	for i, f := range c.FilterSubjects {
		if !natsserver.IsValidSubject(f) {
			return strconv.Quote(f) + " is not a subject"
		}
		for j, g := range c.FilterSubjects {
			if i != j && natsserver.SubjectMatchesFilter(f, g) {
				return fmt.Sprintf("filter %q is within %q", f, g)
			}
		}
	}
	return ""
}

// covered reports whether filters cover all that a subject with wildcards can mean; a.> is also a.* and a.*.> together.
func covered(subject string, by []string) bool {
	for _, f := range by {
		if natsserver.SubjectMatchesFilter(subject, f) {
			return true
		}
	}
	front, ok := strings.CutSuffix(subject, ">")
	return ok && strings.Count(subject, ".") < 16 && canSplit(front, by) && covered(front+"*", by) && covered(front+"*.>", by)
}

// canSplit keeps covered from looking deeper than any filter reaches.
func canSplit(front string, by []string) bool {
	for _, f := range by {
		if strings.Count(f, ".") >= strings.Count(front, ".") {
			return true
		}
	}
	return false
}
