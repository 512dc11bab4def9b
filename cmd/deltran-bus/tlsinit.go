package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

const day = 24 * time.Hour

func tlsInitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "dir", Value: "tls", Usage: "`DIR` of the files"},
		&cli.StringSliceFlag{Name: "host", Usage: "`NAME` or address that clients connect to; beside localhost and this machine's name"},
		&cli.StringSliceFlag{Name: "client", Usage: "also make a certificate for the client `NAME`: CN=NAME"},
		&cli.IntFlag{Name: "days", Value: 365, Usage: "how many days the certificates are good; the authority is for ten years"},
		&cli.BoolFlag{Name: "renew", Usage: "make server and clients new certificates, by the authority that there is; the server's keeps its names"},
	}
}

// authority is who signs, and where everything is kept.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  any
	days int
	made []string // files
}

// tlsInit makes a small authority and what it signs for a laptop or an edge site. What is there stays as it is.
func tlsInit(c *cli.Context) error {
	days := c.Int("days")
	if days < 1 || days > 3650 {
		return misuse("--days %d is not between 1 and 3650", days)
	}
	clients := c.StringSlice("client")
	for _, name := range clients {
		if name == "" || name == "ca" || name == "server" || strings.ContainsAny(name, "/\\,=+\"<>#;") || strings.HasPrefix(name, ".") {
			return misuse("--client %q cannot be the name of a file and a certificate", name)
		}
	}
	a := &authority{dir: c.String("dir"), days: days}
	had, err := a.named(c.StringSlice("host"), c.Bool("renew"))
	if err == nil {
		err = a.open()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.dir, err)
	}
	server := &x509.Certificate{Subject: pkix.Name{CommonName: "deltran-bus"}}
	server.DNSNames, server.IPAddresses = hosts(append(had, c.StringSlice("host")...))
	err = a.issue("server", server, c.Bool("renew"), x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth) // both: routes
	for _, name := range clients {
		if err == nil {
			err = a.issue(name, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, c.Bool("renew"), x509.ExtKeyUsageClientAuth)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.dir, err)
	}
	if len(a.made) == 0 {
		fmt.Fprintf(c.App.ErrWriter, "nothing to make: everything is in %s already; --renew makes new certificates\n", a.dir)
	} else {
		fmt.Fprintf(c.App.ErrWriter, "made in %s: %s\n", a.dir, strings.Join(a.made, ", "))
	}
	fmt.Fprintf(c.App.ErrWriter, "ca-key.pem signs; only tls init needs it, keep it where the bus does not run\n")
	return a.explain(c, clients)
}

// explain prints the lines of TOML that go with the files.
func (a *authority) explain(c *cli.Context, clients []string) error {
	at := func(name string) string { return tomlQuote(filepath.ToSlash(filepath.Join(a.dir, name))) }
	fmt.Fprintf(c.App.Writer, "[nats.tls]\ncert_file = %s\nkey_file = %s\nca_file = %s\n", at("server.pem"), at("server-key.pem"), at("ca.pem"))
	for _, name := range clients {
		fmt.Fprintf(c.App.Writer, "\n[[services]]\nname = %s\ncertificates = [%s]\n# publishes = […]\n# consumes = […]\n", tomlQuote(name), tomlQuote("CN="+name))
	}
	return nil
}

func tomlQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// named are the names and addresses in the server's certificate, if there is one. Another that is asked for takes a new one.
func (a *authority) named(asked []string, renew bool) (names []string, err error) {
	text, err := os.ReadFile(a.path("server.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	block, _ := pem.Decode(text)
	if err != nil || block == nil {
		return nil, errors.Join(errors.New("server.pem is not a certificate; move it away"), plainPath(err))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("server.pem: %w; move it away", err)
	}
	for _, name := range asked {
		if err := cert.VerifyHostname(name); err != nil && !renew {
			return nil, fmt.Errorf("server.pem: %w; --renew makes one that is good for %s as well", err, name)
		}
	}
	names = cert.DNSNames
	for _, addr := range cert.IPAddresses {
		names = append(names, addr.String())
	}
	return names, nil
}

// hosts are the names and addresses of a server: those asked for, this machine's, and itself.
func hosts(asked []string) (names []string, addrs []net.IP) {
	all := append([]string{"localhost", "127.0.0.1", "::1"}, asked...)
	if name, err := os.Hostname(); err == nil {
		all = append(all, name)
	}
	for _, h := range all {
		if ip := net.ParseIP(h); ip != nil {
			if !slices.ContainsFunc(addrs, ip.Equal) {
				addrs = append(addrs, ip)
			}
		} else if h != "" && !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	return names, addrs
}

// open reads the authority of the folder, or makes one.
func (a *authority) open() error {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return plainPath(err)
	}
	pair, err := tls.LoadX509KeyPair(a.path("ca.pem"), a.path("ca-key.pem"))
	if err == nil {
		a.cert, err = x509.ParseCertificate(pair.Certificate[0])
		a.key = pair.PrivateKey
		if err == nil && !a.cert.IsCA {
			err = errors.New("ca.pem is not an authority's certificate")
		}
		return err
	}
	for _, name := range []string{"ca.pem", "ca-key.pem"} {
		if _, there := os.Stat(a.path(name)); !errors.Is(there, fs.ErrNotExist) {
			return fmt.Errorf("ca.pem and ca-key.pem: %w; move them away to start anew", plainPath(err))
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	a.key = key
	a.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: "deltran-bus authority"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return a.sign("ca", a.cert, key, 3650)
}

// issue makes a key and a certificate of that name, unless they are there.
func (a *authority) issue(name string, cert *x509.Certificate, renew bool, uses ...x509.ExtKeyUsage) error {
	_, err := os.Stat(a.path(name + ".pem"))
	if err == nil && !renew {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert.KeyUsage, cert.ExtKeyUsage = x509.KeyUsageDigitalSignature, uses
	return a.sign(name, cert, key, a.days)
}

// sign signs and writes both files; the key first, because a bus that watches them takes them when they fit.
func (a *authority) sign(name string, cert *x509.Certificate, key *ecdsa.PrivateKey, days int) (err error) {
	if cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return err
	}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Duration(days)*day) // clocks differ
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if name == "ca" {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	if err := a.write(name+"-key.pem", "PRIVATE KEY", secret, 0o600); err != nil {
		return err
	}
	return a.write(name+".pem", "CERTIFICATE", der, 0o644)
}

// write replaces a file in one step: who reads it sees the old one or the new one.
func (a *authority) write(name, kind string, der []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(a.dir, "."+name+"-")
	if err != nil {
		return plainPath(err)
	}
	err = errors.Join(f.Chmod(mode), pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), a.path(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", name, plainPath(err)), os.Remove(f.Name()))
	}
	a.made = append(a.made, name)
	return nil
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }
