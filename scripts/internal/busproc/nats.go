package busproc

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// StartNATS runs a stock nats-server with JetStream on the store folder, synced as it comes, and returns when it takes
// clients.
func StartNATS(ctx context.Context, binary, store string) (*Bus, error) {
	dir, err := os.MkdirTemp("", "nats-server-ports-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf(`
		listen: "127.0.0.1:-1"
		server_name: "stock"
		max_payload: 8MB
		ports_file_dir: %q
		jetstream { store_dir: %q, max_file_store: 20GB, max_memory_store: 256MB }
	`, dir, store)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	b, err := Launch(binary, "--config", file)
	if err != nil {
		return nil, err
	}
	return b.ready(ctx, func() (bool, error) {
		found, err := filepath.Glob(filepath.Join(dir, "*.ports"))
		if err != nil || len(found) == 0 {
			return false, err
		}
		text, err := os.ReadFile(found[0])
		if err != nil {
			return false, err
		}
		var ports struct{ NATS []string }
		if json.Unmarshal(text, &ports) != nil || len(ports.NATS) == 0 {
			return false, nil // half written
		}
		b.PID, b.Client = b.cmd.Process.Pid, ports.NATS[0]
		return true, nil
	})
}
