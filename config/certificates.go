package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// A CertificateFile is a file of certificates that the declaration names.
type CertificateFile struct {
	Key     string    // where it is named: "nats.tls.cert_file"
	File    string    // as it is named
	Subject string    // of the certificate that expires first
	Expires time.Time // when that is
	Err     error     // why it cannot be read, nil otherwise
}

// Soon reports whether it expires within 30 days: time to renew it.
func (f CertificateFile) Soon(now time.Time) bool {
	return f.Err == nil && f.Expires.Before(now.Add(30*24*time.Hour))
}

// String says when it expires.
func (f CertificateFile) String() string {
	if f.Err != nil {
		return fmt.Sprintf("%s %s: %v", f.Key, f.File, f.Err)
	}
	return fmt.Sprintf("%s %s (%s) expires %s", f.Key, f.File, f.Subject, f.Expires.UTC().Format("2006-01-02 15:04 MST"))
}

// CertificateFiles are the certificates that the declaration names, as they are on this machine now.
func (c *Config) CertificateFiles() (all []CertificateFile) {
	c.files(func(at path, file string) {
		if last := at.last(); last == "cert_file" || last == "ca_file" {
			all = append(all, certificateFile(at, file))
		}
	})
	return all
}

func certificateFile(at path, file string) CertificateFile {
	out := CertificateFile{Key: at.String(), File: file}
	rest, err := os.ReadFile(file)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		out.Err = err
		return out
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			out.Err = err
			return out
		}
		if out.Expires.IsZero() || cert.NotAfter.Before(out.Expires) {
			out.Subject, out.Expires = cert.Subject.String(), cert.NotAfter
		}
	}
	if out.Expires.IsZero() {
		out.Err = errors.New("holds no certificate")
	}
	return out
}

// Files are the files that the declaration names and a reload reads again: certificates, keys and secrets, each once.
func (c *Config) Files() (names []string) {
	c.files(func(_ path, file string) {
		if !slices.Contains(names, file) {
			names = append(names, file)
		}
	})
	return names
}

// files walks over what is named as a file, by its key or as "file:PATH".
func (c *Config) files(each func(at path, file string)) {
	value := func(at path, s string) {
		switch last := at.last(); {
		case strings.HasPrefix(s, "file:") && !strings.HasPrefix(s, "file://"):
			each(at, strings.TrimPrefix(s, "file:"))
		case s != "" && slices.Contains([]string{"cert_file", "key_file", "ca_file"}, last):
			each(at, s)
		}
	}
	var walk func(at path, v any)
	walk = func(at path, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				walk(at.with(k), v[k])
			}
		case []any:
			for i, e := range v {
				walk(at.index(i), e)
			}
		case []map[string]any:
			for i, e := range v {
				walk(at.index(i), e)
			}
		case string:
			value(at, v)
		}
	}
	walk(path{"nats"}, c.NATS)
	for _, s := range c.Services {
		at := path{"services", s.Name}
		value(at.with("password"), s.Password)
		for _, user := range slices.Sorted(maps.Keys(s.Users)) {
			value(at.with("users", user), s.Users[user])
		}
	}
	value(path{"monitor", "token"}, c.Monitor.Token)
	value(path{"monitor", "tls", "cert_file"}, c.Monitor.TLS.CertFile)
	value(path{"monitor", "tls", "key_file"}, c.Monitor.TLS.KeyFile)
	value(path{"monitor", "tls", "ca_file"}, c.Monitor.TLS.CAFile)
}
