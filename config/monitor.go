package config

import (
	"crypto/tls"
	"fmt"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// MonitorTLS is [monitor.tls], in the words of [nats.tls].
type MonitorTLS struct {
	CertFile   string `json:"cert_file"`   // PEM; empty: plain HTTP
	KeyFile    string `json:"key_file"`    // PEM
	CAFile     string `json:"ca_file"`     // who signs the clients' certificates
	Verify     bool   `json:"verify"`      // clients have to show one
	MinVersion string `json:"min_version"` // "1.2", the default, or "1.3"
}

// MonitorAccess is how the monitor is reached, its certificate read and its token resolved.
type MonitorAccess struct {
	TLS   *tls.Config // nil: plain HTTP
	Token string      // empty: none is asked for
}

// MonitorAccess reads what [monitor] names. The error is a Problems.
func (c *Config) MonitorAccess() (a MonitorAccess, err error) {
	a, ps := c.monitorAccess()
	return a, ps.in(c.sources)
}

func (c *Config) monitorAccess() (a MonitorAccess, ps Problems) {
	if t := c.Monitor.TLS; t.CertFile != "" {
		opts := &natsserver.TLSConfigOpts{CertFile: t.CertFile, KeyFile: t.KeyFile, CaFile: t.CAFile, Verify: t.Verify}
		if t.MinVersion == "1.3" {
			opts.MinVersion = tls.VersionTLS13
		}
		var err error
		if a.TLS, err = natsserver.GenTLSConfig(opts); err != nil {
			ps.add(path{"monitor", "tls"}, "%v", err)
		}
	}
	if c.Monitor.Token != "" && isReference(c.Monitor.Token) {
		var err error
		if a.Token, err = resolveSecret(c.Monitor.Token); err != nil {
			ps.add(path{"monitor", "token"}, "%v", err)
		}
	}
	return a, ps
}

// monitorProblems lists what is wrong with [monitor] wherever it is read.
func (c *Config) monitorProblems() (ps Problems) {
	t, at := c.Monitor.TLS, path{"monitor", "tls"}
	switch {
	case t.CertFile == "" && t != (MonitorTLS{}):
		ps.add(at, "has no cert_file; name the certificate, or leave out [monitor.tls] for plain HTTP")
	case t.CertFile != "" && t.KeyFile == "":
		ps.add(at, "has no key_file, which goes with cert_file")
	case t.Verify && t.CAFile == "":
		ps.add(at.with("verify"), "needs ca_file, which says who signs the clients' certificates")
	}
	if v := t.MinVersion; v != "" && v != "1.2" && v != "1.3" {
		ps.add(at.with("min_version"), "%q is not one of \"1.2\", \"1.3\"", v)
	}
	if c.Monitor.Token != "" && !isReference(c.Monitor.Token) {
		ps.add(path{"monitor", "token"}, "is a secret in plain text; write \"env:NAME\" or \"file:PATH\"")
	}
	return ps
}

// monitorLacks is what other machines would not be asked for, and what adds it.
func (c *Config) monitorLacks() (lacks, add []string) {
	if c.Monitor.Token == "" && !c.Monitor.TLS.Verify {
		lacks, add = append(lacks, "authentication"), append(add, "[monitor] token")
	}
	if c.Monitor.TLS.CertFile == "" {
		lacks, add = append(lacks, "TLS"), append(add, "[monitor.tls]")
	}
	return lacks, add
}

// MonitorURL is where a monitor at that address is asked: http:// or https://.
func (c *Config) MonitorURL(addr string) string {
	if c.Monitor.TLS.CertFile != "" {
		return fmt.Sprintf("https://%s", addr)
	}
	return fmt.Sprintf("http://%s", addr)
}
