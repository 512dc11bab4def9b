package server_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

func TestWeak(t *testing.T) {
	t.Parallel()
	stream := func(name string, storage natsserver.StorageType, persist natsserver.PersistModeType) natsserver.StreamDetail {
		return natsserver.StreamDetail{Name: name, Config: &natsserver.StreamConfig{Name: name, Storage: storage, PersistMode: persist}}
	}
	const files, memory = natsserver.FileStorage, natsserver.MemoryStorage
	accounts := []*natsserver.AccountDetail{
		{Name: "$G", Streams: []natsserver.StreamDetail{
			stream("GOOD", files, natsserver.DefaultPersistMode), stream("HOT", memory, natsserver.DefaultPersistMode), stream("QUICK", files, natsserver.AsyncPersistMode),
			stream("DECLARED_HOT", memory, natsserver.DefaultPersistMode), stream("DECLARED_QUICK", files, natsserver.AsyncPersistMode),
			stream("OTHERWISE", memory, natsserver.DefaultPersistMode), stream("$MQTT_out", memory, natsserver.DefaultPersistMode), {Name: "BARE"},
		}},
		{Name: "TENANT", Streams: []natsserver.StreamDetail{stream("DECLARED_HOT", memory, natsserver.DefaultPersistMode)}},
	}
	declared := []config.Stream{
		{StreamConfig: jetstream.StreamConfig{Name: "DECLARED_HOT", Storage: jetstream.MemoryStorage}},
		{StreamConfig: jetstream.StreamConfig{Name: "DECLARED_QUICK", PersistMode: jetstream.AsyncPersistMode}},
		{StreamConfig: jetstream.StreamConfig{Name: "OTHERWISE", PersistMode: jetstream.AsyncPersistMode}},
	}
	var got []string
	for _, f := range server.Weak(accounts, declared) {
		got = append(got, f.String())
		if f.Holds || f.Kind != ledger.Weak || f.WayOut == "" {
			t.Errorf("%+v", f)
		}
	}
	want := []string{
		"HOT: is in memory: it is gone after a restart",
		"OTHERWISE: is in memory: it is gone after a restart",
		"QUICK: has persist_mode async: it acknowledges messages before they are written",
		"TENANT > DECLARED_HOT: is in memory: it is gone after a restart",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// What a client makes is seen, said once, and forgotten with the stream.
func TestWeakAtRunTime(t *testing.T) {
	t.Parallel()
	var log lockedBuilder
	s, err := server.Start(context.Background(), onDisk(t), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	js, ctx := js(t, s), context.Background()
	weak := func() (names []string) {
		for _, f := range s.State().Findings {
			if f.Kind == ledger.Weak {
				names = append(names, f.Stream)
			}
		}
		return names
	}
	for _, c := range []jetstream.StreamConfig{
		{Name: "HOT", Subjects: []string{"hot.>"}, Storage: jetstream.MemoryStorage},
		{Name: "QUICK", Subjects: []string{"quick.>"}, PersistMode: jetstream.AsyncPersistMode},
		{Name: "GOOD", Subjects: []string{"good.>"}},
	} {
		if _, err := js.CreateStream(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "both are seen", func() bool { return slices.Equal(weak(), []string{"HOT", "QUICK"}) })
	if err := js.DeleteStream(ctx, "HOT"); err != nil {
		t.Fatal(err)
	}
	until(t, "one is forgotten", func() bool { return slices.Equal(weak(), []string{"QUICK"}) })
	if n := strings.Count(log.String(), "a stream is less durable than this bus promises: QUICK: "); n != 1 {
		t.Errorf("said %d times: %s", n, log.String())
	}
}
