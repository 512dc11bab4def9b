package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/urfave/cli/v2"
)

func healthFlags() []cli.Flag {
	return []cli.Flag{
		configFlag,
		&cli.StringFlag{Name: "monitor", Usage: "monitoring `HOST:PORT` (default: where the configuration listens)"},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "give up after `DURATION`"},
		jsonFlag,
	}
}

// healthcheck asks /readyz: exit 0 when the declared layout stands and clients can connect.
func healthcheck(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	resp, body, err := askMonitor(ctx, cfg, "/readyz")
	if err != nil {
		return err
	}
	if c.Bool("json") {
		fmt.Fprintf(c.App.Writer, "%s\n", strings.TrimSpace(string(body)))
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(notReady(resp.Status, body))
	}
	if !c.Bool("json") {
		fmt.Fprintln(c.App.Writer, "ready")
	}
	return nil
}

// askMonitor gets a page of the monitor of a bus that runs on this machine.
func askMonitor(ctx context.Context, cfg *config.Config, path string) (*http.Response, []byte, error) {
	host, port, err := net.SplitHostPort(cfg.Monitor.Listen)
	if err != nil || port == "0" {
		return nil, nil, misuse("the configuration's monitor.listen %q does not say where to ask; name it with --monitor", cfg.Monitor.Listen)
	}
	addr := net.JoinHostPort(reachable(host), port)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req) // past any proxy
	if err != nil {
		return nil, nil, fmt.Errorf("nobody answers at %s: the bus is not running, or monitors elsewhere", addr)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", addr, err)
	}
	return resp, body, nil
}

// notReady words what /readyz answered.
func notReady(status string, body []byte) string {
	var r struct {
		Phase   string   `json:"phase"`
		Missing []string `json:"missing"`
		Error   string   `json:"error"`
	}
	if json.Unmarshal(body, &r) != nil || r.Phase == "" {
		return "not ready: " + status
	}
	s := "not ready: " + r.Phase
	if len(r.Missing) > 0 {
		s += "; missing: " + strings.Join(r.Missing, ", ")
	}
	if r.Error != "" {
		s += "; " + r.Error
	}
	return s
}
