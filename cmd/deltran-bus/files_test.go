//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/ledger"
	"github.com/gofrs/flock"
	"github.com/nats-io/nats.go"
)

var fileCommands = map[string]func(*script, []string){
	"ledger":       (*script).ledgerID,
	"snapshot":     (*script).snapshot,
	"unchanged":    (*script).unchanged,
	"hold":         (*script).hold,
	"certificates": (*script).certificates,
	"fifo":         (*script).fifo,
	"waits":        (*script).waits,
	"feed":         (*script).feed,
	"cut":          (*script).cut,
	"flip":         (*script).flip,
	"bytes":        (*script).bytes,
}

// tree is every file below dir with its mode and a sum of what is in it. The lock of a store is not part of it: a
// process that looks at a store may leave it there.
func tree(dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.Name() == "deltran-bus.lock" || filepath.Base(filepath.Dir(path)) == ledger.Dir && strings.HasPrefix(d.Name(), "page.") {
			return err // of both, the one who opened it last stands in it
		}
		rel, err := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "  %s %s", info.Mode(), rel)
		if err == nil && info.Mode().IsRegular() {
			var content []byte
			content, err = os.ReadFile(path)
			fmt.Fprintf(&b, " %d %.6x", len(content), sha256.Sum256(content))
		}
		b.WriteByte('\n')
		return err
	})
	if err != nil {
		fmt.Fprintf(&b, "%v\n", err)
	}
	return b.String()
}

// ledgerID makes $LEDGER the ID of the ledger's last page.
func (s *script) ledgerID([]string) {
	_, page, _, err := ledger.Open(s.MkAbs("deltran-data"))
	s.Check(err)
	s.Setenv("LEDGER", page.ID())
}

func (s *script) snapshot(args []string) {
	s.want(args, 1, "snapshot PATH")
	s.snapshots[args[0]] = tree(s.MkAbs(args[0]))
}

func (s *script) unchanged(args []string) {
	s.want(args, 1, "unchanged PATH")
	if now := tree(s.MkAbs(args[0])); now != s.snapshots[args[0]] {
		s.Fatalf("%s was:\n%sand is:\n%s", args[0], s.snapshots[args[0]], now)
	}
}

func (s *script) hold(args []string) {
	s.want(args, 1, "hold port|lock DIR")
	if args[0] == "client" {
		away := make(chan struct{})
		opts := []nats.Option{nats.ClosedHandler(func(*nats.Conn) { close(away) })}
		if len(args) > 3 {
			opts = append(opts, nats.ClientCert(s.MkAbs(args[1]), s.MkAbs(args[2])), nats.RootCAs(s.MkAbs(args[3])))
		}
		nc, err := s.connect(opts...)
		s.Check(err)
		s.held, s.away, s.client = append(s.held, nc.Close), away, nc
		return
	}
	if args[0] == "lock" {
		lock := flock.New(filepath.Join(s.MkAbs(args[1]), "deltran-bus.lock"))
		ok, err := lock.TryLock()
		s.Check(err)
		if !ok {
			s.Fatalf("somebody has the lock")
		}
		s.held = append(s.held, func() { _ = lock.Close() })
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	s.Check(err)
	s.held = append(s.held, func() { _ = ln.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	s.Check(err)
	s.Setenv("PORT", port)
	s.known = map[string]string{"127.0.0.1:" + port: "127.0.0.1:PORT"}
}

// certificates makes an authority and what it signed for 127.0.0.1, good for an hour either way.
func (s *script) certificates([]string) {
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		s.Check(err)
		return k
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caKey, leafKey := key(), key()
	sign := func(file string, c *x509.Certificate, k *ecdsa.PrivateKey) {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, k.Public(), caKey)
		s.Check(err)
		s.writePEM(file, "CERTIFICATE", der)
	}
	sign("ca.pem", ca, caKey)
	sign("server.pem", leaf, leafKey)
	for file, k := range map[string]*ecdsa.PrivateKey{"server-key.pem": leafKey, "other-key.pem": key()} {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		s.Check(err)
		s.writePEM(file, "PRIVATE KEY", der)
	}
}

func (s *script) writePEM(file, kind string, der []byte) {
	s.Check(os.WriteFile(s.MkAbs(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (s *script) fifo(args []string) {
	s.want(args, 1, "fifo PATH")
	s.Check(syscall.Mkfifo(s.MkAbs(args[0]), 0o600))
}

// waits opens the other end of a fifo, which works when its reader is there, and leaves the reader waiting.
func (s *script) waits(args []string) {
	s.want(args, 1, "waits FIFO")
	if s.writer != nil {
		_ = s.writer.Close() // the next reader shall not see its end
	}
	path := s.MkAbs(args[0])
	opened := make(chan *os.File, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			close(opened)
			return
		}
		opened <- f
	}()
	select {
	case f := <-opened:
		s.writer = f
		s.held = append(s.held, func() { _ = f.Close() })
	case <-time.After(patience):
		if f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil { // lets the goroutine go
			<-opened
			_ = f.Close()
		}
		s.Fatalf("nobody reads %s", args[0])
	}
	if s.writer == nil {
		s.Fatalf("%s cannot be opened", args[0])
	}
}

// feed gives the reader of that fifo what it waits for.
func (s *script) feed(args []string) {
	s.want(args, 1, "feed FILE")
	_, err := s.writer.WriteString(s.ReadFile(args[0]))
	s.Check(err)
	s.Check(s.writer.Close())
}

func (s *script) cut(args []string) {
	s.want(args, 2, "cut PATH SIZE")
	size, err := strconv.ParseInt(args[1], 10, 64)
	s.Check(err)
	files, err := filepath.Glob(s.MkAbs(args[0]))
	s.Check(err)
	if len(files) != 1 {
		s.Fatalf("%d files are called %s", len(files), args[0])
	}
	s.Check(os.Truncate(files[0], size))
}

func (s *script) flip(args []string) {
	s.want(args, 2, "flip PATH OFFSET")
	at, err := strconv.Atoi(args[1])
	s.Check(err)
	b, err := os.ReadFile(s.MkAbs(args[0]))
	s.Check(err)
	b[at] ^= 1
	s.Check(os.WriteFile(s.MkAbs(args[0]), b, 0o600))
}

func (s *script) bytes(args []string) {
	s.want(args, 2, "bytes FILE TEXT [TIMES]")
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	s.Check(err)
	times := 1
	if len(args) > 2 {
		times, err = strconv.Atoi(args[2])
		s.Check(err)
	}
	s.Check(os.WriteFile(s.MkAbs(args[0]), []byte(strings.Repeat(text, times)), 0o666))
}
