package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// roomy is the max_file_store of servers on which a client makes the layout: on the warm store nats-server wants room for
// each stream's max_bytes once more before it finds that the stream stands already.
const roomy = "20GB"

// natsServer is a stock server with the configuration that the bus has by default.
func natsServer(binary, work, sync string) func(addr, store string) (*exec.Cmd, error) {
	return func(addr, store string) (*exec.Cmd, error) {
		file := filepath.Join(work, "nats.conf")
		text := fmt.Sprintf(`
			listen: %q
			http: "127.0.0.1:-1"
			server_name: "bench"
			max_payload: 8MB
			jetstream { store_dir: %q, max_file_store: %s, max_memory_store: 256MB, sync_interval: %s }
		`, addr, store, roomy, sync)
		return exec.Command(binary, "--config", file), os.WriteFile(file, []byte(text), 0o600)
	}
}
