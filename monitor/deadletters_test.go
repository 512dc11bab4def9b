package monitor

import (
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/deadletter"
)

// How dead letters stand is there while any are made, and only then.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	b := serving(t)
	st := &deadletter.Status{Letters: []deadletter.Count{{Stream: "A", Consumer: "c", Letters: 3}}, Waiting: 2, Failing: "full"}
	m := open(t, b, Options{DeadLetters: func() *deadletter.Status { return st }})
	get(t, m.URL()+"/metrics").mustBe(t, 200,
		`deltran_bus_dead_letters{consumer="c",stream="A"} 3`, "deltran_bus_dead_letter_advisories_waiting 2\n", "deltran_bus_dead_letter_failing 1\n")
	m = open(t, b, Options{DeadLetters: func() *deadletter.Status { return nil }})
	if r := get(t, m.URL()+"/metrics"); strings.Contains(r.body, "dead_letter") {
		t.Error(r.body)
	}
}
