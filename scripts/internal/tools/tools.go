// Package tools builds the programs that the scripts run: the bus itself, and its peers in the versions that it is
// compared with. A program that is up to date costs a fraction of a second.
package tools

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// NATSCLI is the natscli that the checks and measurements are made with.
const NATSCLI = "github.com/nats-io/natscli/nats@v0.5.1"

// Bus builds deltran-bus from the working tree into dir.
func Bus(ctx context.Context, dir string) (string, error) {
	return build(ctx, dir, "deltran-bus", "-tags", "urfave_cli_no_docs", "./cmd/deltran-bus") // as make build does
}

// NATSServer builds the stock nats-server of the version in go.mod, with the same flags, into dir.
func NATSServer(ctx context.Context, dir string) (string, error) {
	return build(ctx, dir, "nats-server", "github.com/nats-io/nats-server/v2")
}

func build(ctx context.Context, dir, name string, args ...string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	args = append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, args...)
	return path, run(exec.CommandContext(ctx, "go", args...))
}

// CLI installs the natscli into dir.
func CLI(ctx context.Context, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags", "-s -w", NATSCLI)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	return filepath.Join(dir, "nats"), run(cmd)
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w:\n%s", cmd.Args, err, out)
	}
	return nil
}
