package server_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The bus in a program of one's own. When Start returns every declared stream and consumer stands. The program itself
// connects in the process, others by the port; without others, server.New and Open leave the port closed.
func ExampleStart() {
	dir, err := os.MkdirTemp("", "orders-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	cfg, err := config.Load(config.File("orders.toml", `
[[streams]]
name = "ORDERS"
subjects = ["orders.*"]
max_age = "30d"
max_bytes = "100MB"
discard = "new"
[bus]
default_streams = false
`),
		config.Set("--listen", "nats.listen", "127.0.0.1:0"),
		config.Set("--store-dir", "nats.jetstream.store_dir", filepath.Join(dir, "store")))
	if err != nil {
		log.Fatal(err) // every mistake, with its line
	}
	ctx := context.Background()
	bus, err := server.Start(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close(ctx)

	own, err := bus.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer own.Close()
	js, err := jetstream.New(own)
	if err != nil {
		log.Fatal(err)
	}
	ack, err := js.Publish(ctx, "orders.placed", []byte(`{"id": 1}`)) // on the disk when it returns
	fmt.Println(ack.Stream, ack.Sequence, err)

	other, err := nats.Connect(bus.ClientURL())
	if err != nil {
		log.Fatal(err)
	}
	defer other.Close()
	fmt.Println(other.IsConnected(), bus.State().Phase)
	// Output:
	// ORDERS 1 <nil>
	// true serving
}
