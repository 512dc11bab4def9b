package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/access"
	"github.com/deltran/deltran-bus/audit"
	"github.com/deltran/deltran-bus/event"
	"github.com/google/go-cmp/cmp"
)

// What services may not publish is where the bus records, those of dead letters included.
func TestRecordsAreTheBuss(t *testing.T) {
	t.Parallel()
	own := append(audit.Subjects(), "events.audit.dead-letter.*")
	slices.Sort(own)
	if !slices.Equal(own, access.Records()) {
		t.Errorf("the bus records at %v, and services may not publish %v", own, access.Records())
	}
}

// What a person reads of the trail, of every kind of record; nothing in it can play tricks with the terminal.
func TestAuditRows(t *testing.T) {
	t.Parallel()
	var rows []string
	row := func(number uint64, what, data, invalid string) {
		t.Helper()
		e, err := event.New(what, audit.Source, json.RawMessage(data))
		if err != nil {
			t.Fatal(err)
		}
		e.Timestamp = time.Date(2026, 11, 6, 12, 0, int(number), 233e6, time.UTC)
		rows = append(rows, auditRow(audit.Entry{Sequence: 7, Number: number, Event: e, Invalid: invalid}))
	}
	row(1, "bus.started", `{"version":"v0.1.0","services":3,"made":["create stream RISK"],"new":true}`, "")
	row(2, "client.rejected", `{"by":{"user":"token-engine","address":"10.0.0.7:5227"},"reason":"authentication error","count":1}`, "")
	row(3, "client.rejected", `{"by":{"address":"10.0.0.9:1"},"reason":"monitoring: a wrong token","count":4711,"since":"2026-11-06T12:01:10.201Z"}`, "")
	row(4, "permission.denied", `{"by":{"name":"report\u001b[31m er","address":"10.0.0.8:2"},"action":"subscribe","subject":"events.>","count":1}`, "")
	row(5, "permission.denied", `{"others":true,"count":12}`, "")
	row(6, "stream.changed", `{"by":{"user":"alice","address":"10.0.0.1"},"stream":"RISK","changed":[{"field":"max_age","from":1,"to":2},{"field":"description","to":"x"}]}`, "")
	row(7, "bus.restarted", `{"why":"the store can be written again","took":"134ms"}`, "")
	row(0, "dead-letter.stored", `{"stream":"PAYMENTS","consumer":"ledger"}`, "")
	row(9, "bus.started", `{}`, "record 9 was altered")
	want, err := os.ReadFile("testdata/audit.golden")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), strings.Join(rows, "\n")+"\n"); d != "" {
		t.Error(d)
	}
}
