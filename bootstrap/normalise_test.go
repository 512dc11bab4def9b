package bootstrap

import (
	"fmt"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Every default of the server, as a declaration that leaves it out: what has been applied shows no difference.
var declarations = []string{
	`name="@"`,
	`name="@"
subjects=["@.*"]
max_age="1m"`,
	`name="@"
subjects=["@.z", "@.a"]
max_msgs_per_subject=3
no_ack=true`,
	`name="@"
subject_delete_marker_ttl="1m"`,
	`name="@"
allow_msg_schedules=true`,
	`name="@"
allow_msg_counter=true`,
	`name="@"
retention="workqueue"
consumer_limits={max_ack_pending=7, inactive_threshold="1h"}
[[streams.consumers]]
name="c"`,
	`name="@"
subjects=["@.>"]
metadata={x="y"}
[[streams.consumers]]
name="one"
filter_subjects=["@.b"]
metadata={x="y"}
[[streams.consumers]]
name="single"
filter_subject="@.b"
[[streams.consumers]]
name="two"
filter_subjects=["@.c","@.b"]
backoff=["1s","2s"]
max_deliver=5
[[streams.consumers]]
name="push"
deliver_subject="d.@"
idle_heartbeat="1s"
flow_control=true
rate_limit_bps=1024
[[streams.consumers]]
name="none"
ack_policy="none"
[[streams.consumers]]
name="all"
ack_policy="all"
sample_freq="50%"
[[streams.consumers]]
name="pin"
priority_policy="pinned_client"
priority_groups=["g"]
[[streams.consumers]]
name="paused"
pause_until=2099-01-31T12:00:00+02:00
[[streams.consumers]]
name="since"
deliver_policy="by_start_time"
opt_start_time=2020-01-31T12:00:00+02:00
[[streams.consumers]]
name="fc"
ack_policy="flow_control"
deliver_subject="dd.@"`,
	`name="@"
mirror={name="ELSEWHERE"}
mirror_direct=true`,
	`name="@"
[[streams.sources]]
name="X"
filter_subject="x.>"
[[streams.sources]]
name="B"
opt_start_time=2020-01-31T12:00:00+02:00`,
	`name="@"
persist_mode="async"`,
	`name="@"
subjects=["@.*"]
subject_transform={src="@.*", dest="b.{{wildcard(1)}}"}
[streams.republish]
dest="r.@.>"`,
	`name="@"
subjects=["@.>"]
subject_transform={src="@.>", dest="b.@.>"}
[streams.republish]
src=">"
dest=">"`,
	`name="@"
discard="new"
max_msgs=5
discard_new_per_subject=true
max_msgs_per_subject=1`,
	`name="@"
first_seq=100
compression="s2"
max_msg_size="1MB"
no_ack=true
allow_batched=true
max_consumers=3
placement={}`,
	`name="@"
subjects=["@.x"]
[[streams]]
name="@M"
mirror={name="@"}
[[streams]]
name="@D"
subjects=["@.d"]
allow_direct=true
[[streams]]
name="@E"
mirror={name="@D"}
[[streams]]
name="@F"
[[streams.sources]]
name="@E"`,
}

func TestWhatIsAppliedShowsNoDifference(t *testing.T) {
	t.Parallel()
	b := start(t)
	for i, d := range declarations {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			b := b.on(t)
			want := declare(t, unique(), "[[streams]]\n"+d)
			b.apply(want, Allow{})
			if p := b.diff(want); !p.Empty() {
				t.Fatal(text(p))
			}
		})
	}
}

// The server's own limits lower what is left out; they cannot be asked for.
func TestServerLimitsLowerDefaults(t *testing.T) {
	t.Parallel()
	limits := natsserver.JSLimitOpts{MaxAckPending: 10, Duplicates: 1e9, MaxRequestBatch: 5}
	b := start(t, func(o *natsserver.Options) { o.JetStreamLimits = limits })
	want := declare(t, unique(), "[[streams]]\nname='@'\n[[streams.consumers]]\nname='c'")
	have := b.observe()
	have.Limits = limits
	if _, err := Apply(b.ctx, b.js, Diff(want, have), Allow{}); err != nil {
		t.Fatal(err)
	}
	have = b.observe()
	have.Limits = limits
	if p := Diff(want, have); !p.Empty() {
		t.Fatal(text(p))
	}
}
