package bootstrap

import "github.com/nats-io/nats.go/jetstream"

// streamEdit is a declared stream, with what is there of it.
type streamEdit struct {
	world     *world
	declared  jetstream.StreamConfig
	consumers []jetstream.ConsumerConfig // declared
	there     *Stream                    // nil: to be created
	blocked   string                     // why its subjects cannot be taken: another stream has them
}

func (e *streamEdit) normal(c jetstream.StreamConfig) jetstream.StreamConfig {
	return normalStream(c, e.world.have.Limits, e.world.origin)
}

func (e *streamEdit) kind() kind[jetstream.StreamConfig] {
	return kind[jetstream.StreamConfig]{
		have:     e.have(),
		declared: e.declared,
		normal:   e.normal,
		judge: func(f string, h, w jetstream.StreamConfig) (Class, string) {
			if rule, ok := streamRules[f]; ok {
				return rule(&streamChange{&h, &w, e})
			}
			return Safe, ""
		},
		refuse: refuseStream,
		// Without its mirror a declared mirror has no subjects, so that it would be given its name as one.
		linked: map[string][]string{"mirror": {"subjects", "sources", "mirror_direct"}},
	}
}

// have is what is there, normalised but for mirror_direct, which is a fact about it.
func (e *streamEdit) have() jetstream.StreamConfig {
	return normalStream(e.there.Config, e.world.have.Limits, nil)
}

// streamChange is what a rule looks at: two normalised configs of one stream.
type streamChange struct {
	have, want *jetstream.StreamConfig
	*streamEdit
}

// never had a message: no ids to remember, nothing delivered.
func (c *streamChange) untouched() bool { return c.there.State.Msgs == 0 && c.there.State.LastSeq == 0 }

// empty: what a tighter limit deletes from now on is what it is declared to delete.
func (c *streamChange) empty() bool { return c.there.State.Msgs == 0 }

type streamRule func(*streamChange) (Class, string)

// streamRules says what changing a field of a stream does (nats-server stream.go configUpdateCheck and
// updateWithAdvisory, filestore.go UpdateConfig). A field that is not listed can be changed and costs nothing.
// TestRulesHold has every line proved by a real server.
var streamRules = map[string]streamRule{
	"subjects": func(c *streamChange) (Class, string) {
		if c.blocked != "" {
			return Conflict, c.blocked
		}
		return Safe, quoteAll("no longer captures ", gone(c.have.Subjects, c.want.Subjects))
	},
	"retention": func(c *streamChange) (Class, string) {
		switch {
		case c.have.Retention == jetstream.WorkQueuePolicy || c.want.Retention == jetstream.WorkQueuePolicy:
			return Conflict, "a stream cannot become a work queue or cease to be one"
		case c.want.Retention == jetstream.InterestPolicy:
			return Loses, "messages that no consumer waits for are deleted"
		}
		return Safe, ""
	},
	"max_age": func(c *streamChange) (Class, string) {
		return c.tighter(lowered(c.have.MaxAge, c.want.MaxAge), "older messages are deleted")
	},
	"max_msgs": func(c *streamChange) (Class, string) {
		return c.limit(lowered(c.have.MaxMsgs, c.want.MaxMsgs))
	},
	"max_bytes": func(c *streamChange) (Class, string) {
		return c.limit(lowered(c.have.MaxBytes, c.want.MaxBytes))
	},
	// Discard new does not protect from this one.
	"max_msgs_per_subject": func(c *streamChange) (Class, string) {
		return c.tighter(lowered(c.have.MaxMsgsPerSubject, c.want.MaxMsgsPerSubject), "the oldest messages of a subject beyond the limit are deleted")
	},
	"max_msg_size": func(c *streamChange) (Class, string) {
		if lowered(c.have.MaxMsgSize, c.want.MaxMsgSize) {
			return Safe, "larger messages are refused from now on"
		}
		return Safe, ""
	},
	"discard": func(c *streamChange) (Class, string) {
		if c.want.Discard == jetstream.DiscardNew {
			return Safe, "a full stream refuses publishes from now on"
		}
		full := !limitless(c.want.MaxMsgs) || !limitless(c.want.MaxBytes)
		return c.tighter(full, "a full stream deletes its oldest messages")
	},
	"discard_new_per_subject": func(c *streamChange) (Class, string) {
		if c.want.DiscardNewPerSubject {
			return Safe, "a full subject refuses publishes from now on"
		}
		return c.tighter(!limitless(c.want.MaxMsgsPerSubject), "a full subject deletes its oldest messages")
	},
	"storage":           never("a stream's storage cannot change"),
	"persist_mode":      never("a stream's persist mode cannot change"),
	"allow_msg_counter": never("a stream cannot become a counter or cease to be one"),
	"num_replicas": func(c *streamChange) (Class, string) {
		switch {
		case c.want.Replicas > 1 && !c.world.have.Clustered:
			return Conflict, "the server is not part of a cluster"
		case c.want.Replicas < c.have.Replicas:
			return Safe, "fewer copies"
		}
		return Safe, ""
	},
	"no_ack": func(c *streamChange) (Class, string) {
		if c.want.NoAck {
			return Safe, "publishers get no acknowledgement from now on"
		}
		return Safe, ""
	},
	"duplicate_window": func(c *streamChange) (Class, string) {
		if c.want.Duplicates < c.have.Duplicates && !c.untouched() {
			return Replays, "a message id that is forgotten is stored a second time"
		}
		return Safe, ""
	},
	"mirror": func(c *streamChange) (Class, string) {
		if c.want.Mirror == nil {
			return Irreversible, "a stream that ceased to be a mirror cannot become one again"
		}
		return Conflict, "a mirror cannot be added or changed"
	},
	"sources": sources,
	"first_seq": func(c *streamChange) (Class, string) {
		switch st := c.there.State; {
		case c.want.FirstSeq <= max(c.have.FirstSeq, 1):
			return Safe, ""
		case c.have.Storage == jetstream.MemoryStorage || st.Msgs > 0 && c.want.FirstSeq <= st.FirstSeq:
			return Safe, "nothing is stored before it"
		}
		// Not even in an empty stream is it safe: what is published until the next start may be numbered below it.
		return Loses, "messages numbered below it are deleted at the next start"
	},
	"subject_transform": func(c *streamChange) (Class, string) {
		return Skips, "new messages get other subjects, which consumers may not look for"
	},
	"sealed": only(func(w *jetstream.StreamConfig) bool { return w.Sealed },
		"no message can be stored or deleted any more", "a sealed stream stays sealed"),
	"deny_delete": only(func(w *jetstream.StreamConfig) bool { return w.DenyDelete },
		"deny_delete cannot be taken back", "deny_delete cannot be taken back"),
	"deny_purge": only(func(w *jetstream.StreamConfig) bool { return w.DenyPurge },
		"deny_purge cannot be taken back", "deny_purge cannot be taken back"),
	"allow_msg_ttl": only(func(w *jetstream.StreamConfig) bool { return w.AllowMsgTTL },
		"message TTLs cannot be switched off again", "message TTLs cannot be switched off"),
	"allow_msg_schedules": only(func(w *jetstream.StreamConfig) bool { return w.AllowMsgSchedules },
		"message schedules cannot be switched off again", "message schedules cannot be switched off"),
	"allow_rollup_hdrs": func(c *streamChange) (Class, string) {
		if c.want.AllowRollup {
			return Safe, "a publisher may replace older messages by its own"
		}
		return Safe, ""
	},
	"consumer_limits": consumerLimits,
}

func never(why string) streamRule {
	return func(*streamChange) (Class, string) { return Conflict, why }
}

// only can be set, once and for all.
func only(set func(*jetstream.StreamConfig) bool, why, refused string) streamRule {
	return func(c *streamChange) (Class, string) {
		if set(c.want) {
			return Irreversible, why
		}
		return Conflict, refused
	}
}

// tighter deletes, unless there is nothing yet: then the stream converges.
func (c *streamChange) tighter(tighter bool, why string) (Class, string) {
	switch {
	case !tighter:
		return Safe, ""
	case c.empty():
		return Safe, "the stream is empty"
	}
	return Loses, why
}

// limit is max_msgs or max_bytes, which delete only where the oldest messages make room.
func (c *streamChange) limit(lower bool) (Class, string) {
	if lower && c.want.Discard == jetstream.DiscardNew {
		return Safe, "a stream beyond it refuses publishes"
	}
	return c.tighter(lower, "the oldest messages beyond the limit are deleted")
}
