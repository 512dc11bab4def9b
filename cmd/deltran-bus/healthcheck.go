package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.MonitorURL(addr)+path, nil)
	if err != nil {
		return nil, nil, err
	}
	access, err := cfg.MonitorAccess()
	if access.Token != "" {
		req.Header.Set("Authorization", "Bearer "+access.Token)
	}
	transport := &http.Transport{TLSClientConfig: sameMachine(access.TLS)} // past any proxy
	defer transport.CloseIdleConnections()
	resp, asked := (&http.Client{Transport: transport}).Do(req)
	switch {
	case asked != nil && err != nil: // its certificate or token cannot be read here
		return nil, nil, err
	case asked != nil && strings.Contains(asked.Error(), "tls: "):
		return nil, nil, fmt.Errorf("%s: %w", addr, asked)
	case asked != nil:
		return nil, nil, fmt.Errorf("nobody answers at %s: the bus is not running, or monitors elsewhere", addr)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", addr, err)
	}
	return resp, body, nil
}

// sameMachine is TLS towards the bus of that configuration. Its certificate is for the name by which others reach it, so
// the certificate itself is what is looked for: the one of the file, or one by the same authority.
func sameMachine(bus *tls.Config) *tls.Config {
	if bus == nil || len(bus.Certificates) == 0 {
		return nil
	}
	own := bus.Certificates[0]
	return &tls.Config{
		MinVersion: bus.MinVersion, Certificates: bus.Certificates, InsecureSkipVerify: true, // VerifyConnection does
		VerifyConnection: func(s tls.ConnectionState) error {
			shown := s.PeerCertificates[0]
			if shown.Equal(own.Leaf) {
				return nil
			}
			roots, err := x509.SystemCertPool()
			if err != nil || bus.ClientCAs != nil {
				roots = bus.ClientCAs
			}
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err = shown.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
			if err != nil {
				err = fmt.Errorf("tls: somebody answers with another certificate than %s: %w", own.Leaf.Subject, err)
			}
			return err
		},
	}
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
