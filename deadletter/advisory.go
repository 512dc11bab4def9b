package deadletter

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/event"
)

const (
	maxDeliveries = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"
	terminations  = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED"
	records       = "events.audit.dead-letter"
)

// Advisories are the subjects that AUDIT has to capture.
func Advisories() []string { return []string{maxDeliveries + ".>", terminations + ".>"} }

// Captured says which advisories a stream with these subjects captures; none if it would not capture what is recorded of
// letters as well.
func Captured(subjects []string) (advisories []string) {
	captures := func(subject string) bool {
		return slices.ContainsFunc(subjects, func(s string) bool { return event.Covers(s, subject) })
	}
	if !captures(records + ".stored") {
		return nil
	}
	for _, a := range Advisories() {
		if captures(a) {
			advisories = append(advisories, a)
		}
	}
	return advisories
}

// advisory is what JetStream says when a message is delivered no more.
type advisory struct {
	Stream     string    `json:"stream"`
	Consumer   string    `json:"consumer"`
	Sequence   uint64    `json:"stream_seq"`
	Deliveries uint64    `json:"deliveries"`
	Reason     string    `json:"reason"`
	Time       time.Time `json:"timestamp"`
	cause      Cause
}

func readAdvisory(subject string, data []byte) (a advisory, err error) {
	if err := json.Unmarshal(data, &a); err != nil {
		return a, err
	}
	switch subject {
	case maxDeliveries + "." + a.Stream + "." + a.Consumer:
		a.cause = MaxDeliver
	case terminations + "." + a.Stream + "." + a.Consumer:
		a.cause = Terminated
	default:
		return a, errors.New("subject and content do not go together")
	}
	if !isName(a.Stream) || !isName(a.Consumer) || a.Sequence == 0 || a.Time.IsZero() {
		return a, errors.New("it does not say which message")
	}
	return a, nil
}
