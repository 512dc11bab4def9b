package bootstrap_test

import (
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
)

func ExampleDiff() {
	have := bootstrap.Observed{Streams: map[string]*bootstrap.Stream{
		"ORDERS": {
			Config: jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, MaxAge: 30 * 24 * time.Hour},
			State:  jetstream.StreamState{Msgs: 12, FirstSeq: 1, LastSeq: 12},
		},
	}}
	want := []config.Stream{
		{StreamConfig: jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, MaxAge: 7 * 24 * time.Hour, Description: "orders"}},
		{StreamConfig: jetstream.StreamConfig{Name: "REFUNDS", Subjects: []string{"refunds.>"}}},
	}
	plan := bootstrap.Diff(want, have)
	_ = plan.WriteText(os.Stdout)
	_ = plan.Held(bootstrap.Allow{}).WriteText(os.Stdout)
	// Output:
	// stream ORDERS: update
	//     description  - → orders  safe
	//     max_age      30d → 7d    loses: older messages are deleted
	// stream REFUNDS: create  refunds.>
	// 1 to create, 1 to update, of which loses 1
	// stream ORDERS: update
	//     max_age  30d → 7d  loses: older messages are deleted
	// 0 to create, 1 to update, of which loses 1
}
