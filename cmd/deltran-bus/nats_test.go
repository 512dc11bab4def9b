//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/deadletter"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var natsCommands = map[string]func(*script, []string){
	"nats-server": (*script).natsServer,
	"create":      (*script).create,
	"delete":      (*script).delete,
	"publish":     (*script).publish,
	"messages":    (*script).messages,
	"consumers":   (*script).consumers,
	"aged":        (*script).aged,
	"giveup":      (*script).giveup,
	"denied":      (*script).denied,
	"refuses":     (*script).refuses,
	"gone":        (*script).gone,
	"stays":       (*script).stays,
	"http":        (*script).http,
	"nowhere":     (*script).nowhere,
	"json":        (*script).json,
}

// stock is a nats-server as anybody has it.
type stock struct{ *natsserver.Server }

func (s stock) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

func (s *script) natsServer(args []string) {
	s.want(args, 1, "nats-server DIR|off|stop")
	if args[0] == "stop" {
		s.stock.stop()
		s.stock = nil
		return
	}
	srv, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: args[0] != "off", StoreDir: s.MkAbs(args[0]),
	})
	s.Check(err)
	s.stock = &stock{srv}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		s.Fatalf("nats-server did not start")
	}
	s.Setenv("CLIENT", srv.ClientURL())
	s.Setenv("ADDR", srv.Addr().String())
	s.known = map[string]string{srv.Addr().String(): "ADDR"}
}

// connect is a client like any other.
func (s *script) connect(more ...nats.Option) (*nats.Conn, error) {
	url := s.Getenv("NATS_URL")
	if url == "" {
		url = s.Getenv("CLIENT")
	}
	opts := append([]nats.Option{nats.MaxReconnects(0), nats.Timeout(patience)}, more...)
	if _, err := os.Stat(s.MkAbs("ca.pem")); err == nil && strings.HasPrefix(url, "tls:") {
		opts = append(opts, nats.RootCAs(s.MkAbs("ca.pem")))
	}
	return nats.Connect(url, opts...)
}

// withJetStream runs f as a client.
func (s *script) withJetStream(f func(context.Context, jetstream.JetStream) error) {
	nc, err := s.connect()
	s.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	s.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.Check(f(ctx, js))
}

func (s *script) create(args []string) {
	s.want(args, 1, "create FILE.json")
	var cfg jetstream.StreamConfig
	s.Check(json.Unmarshal([]byte(s.ReadFile(args[0])), &cfg))
	s.withJetStream(func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.CreateStream(ctx, cfg)
		return err
	})
}

func (s *script) delete(args []string) {
	s.want(args, 1, "delete STREAM")
	s.withJetStream(func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, args[0]) })
}

func (s *script) publish(args []string) {
	s.want(args, 2, "publish SUBJECT N")
	n, err := strconv.Atoi(args[1])
	s.Check(err)
	subject, err := strconv.Unquote(`"` + args[0] + `"`)
	s.Check(err)
	s.withJetStream(func(ctx context.Context, js jetstream.JetStream) error {
		for i := range n {
			if _, err := js.Publish(ctx, subject, []byte(strconv.Itoa(i))); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *script) info(stream string) (info *jetstream.StreamInfo) {
	s.withJetStream(func(ctx context.Context, js jetstream.JetStream) error {
		st, err := js.Stream(ctx, stream)
		if err == nil {
			info = st.CachedInfo()
		}
		return err
	})
	return info
}

func (s *script) messages(args []string) {
	s.want(args, 2, "messages STREAM N")
	if have := fmt.Sprint(s.info(args[0]).State.Msgs); have != args[1] {
		s.Fatalf("%s holds %s messages, not %s", args[0], have, args[1])
	}
}

func (s *script) consumers(args []string) {
	s.want(args, 2, "consumers STREAM N")
	deadline := time.Now().Add(patience)
	for have := ""; have != args[1]; {
		if have = fmt.Sprint(s.info(args[0]).State.Consumers); time.Now().After(deadline) {
			s.Fatalf("%s has %s consumers, not %s", args[0], have, args[1])
		}
	}
}

// giveup terminates messages as a consumer, and waits until there are so many more dead letters.
func (s *script) giveup(args []string) {
	s.want(args, 3, "giveup STREAM CONSUMER N [REASON]")
	n, err := strconv.Atoi(args[2])
	s.Check(err)
	reason, err := strconv.Unquote(`"` + strings.Join(args[3:], " ") + `"`)
	s.Check(err)
	s.withJetStream(func(ctx context.Context, js jetstream.JetStream) error {
		letters := func() int {
			st, err := js.Stream(ctx, deadletter.Stream)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return 0
			}
			s.Check(err)
			return int(st.CachedInfo().State.Msgs)
		}
		before := letters()
		con, err := js.Consumer(ctx, args[0], args[1])
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			con, err = js.CreateConsumer(ctx, args[0], jetstream.ConsumerConfig{Durable: args[1], AckPolicy: jetstream.AckExplicitPolicy})
		}
		s.Check(err)
		batch, err := con.Fetch(n)
		s.Check(err)
		for m := range batch.Messages() {
			s.Check(m.TermWithReason(reason))
		}
		s.Check(batch.Error())
		for waiting := uint64(1); letters() < before+n || waiting > 0; {
			waiting, _, err = deadletter.Waiting(ctx, js)
			s.Check(err)
		}
		return nil
	})
}

func (s *script) aged(args []string) {
	s.want(args, 2, "aged STREAM DURATION")
	age, err := time.ParseDuration(args[1])
	s.Check(err)
	<-time.After(time.Until(s.info(args[0]).State.LastTime.Add(age)))
}

func (s *script) denied([]string) {
	nc, err := nats.Connect(s.Getenv("ADDR"), nats.MaxReconnects(0), nats.Timeout(patience))
	if err == nil {
		nc.Close()
	}
	if !errors.Is(err, nats.ErrAuthorization) {
		s.Fatalf("a client without log-in got: %v", err)
	}
}

// refuses asks for what the server has to refuse.
func (s *script) refuses(args []string) {
	s.want(args, 2, "refuses publish|subscribe SUBJECT")
	nc, err := s.connect(nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	s.Check(err)
	defer nc.Close()
	if args[0] == "publish" {
		err = nc.Publish(args[1], nil)
	} else {
		_, err = nc.SubscribeSync(args[1])
	}
	s.Check(err)
	s.Check(nc.Flush())
	if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
		s.Fatalf("it is not refused: %v", err)
	}
}

func (s *script) stays([]string) {
	if _, err := s.client.RTT(); err != nil || s.client.Statistics.Reconnects > 0 {
		s.Fatalf("it did not stay: %v, %d reconnects", err, s.client.Statistics.Reconnects)
	}
}

// gone waits until the server has sent the client that was held away.
func (s *script) gone([]string) {
	select {
	case <-s.away:
	case <-time.After(patience):
		s.Fatalf("it is still there")
	}
}

func (s *script) http(args []string) {
	s.want(args, 3, "http METHOD URL CODE")
	body, code := s.get(args[0], args[1])
	fmt.Fprint(s.Stdout(), s.steady(body))
	if got := strconv.Itoa(code); got != args[2] {
		s.Fatalf("%s %s: %s, not %s", args[0], args[1], got, args[2])
	}
}

func (s *script) get(method, url string) (body string, code int) {
	trust := &tls.Config{RootCAs: x509.NewCertPool()}
	if b, err := os.ReadFile(s.MkAbs("tls/ca.pem")); err == nil {
		trust.RootCAs.AppendCertsFromPEM(b)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust}, Timeout: patience}
	req, err := http.NewRequest(method, url, nil)
	s.Check(err)
	if token := s.Getenv("TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	s.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	s.Check(err)
	return string(b), resp.StatusCode
}

func (s *script) nowhere(args []string) {
	s.want(args, 1, "nowhere TEXT")
	for _, page := range []string{"/", "/varz", "/connz?auth=1&subs=detail", "/accountz?acc=$G", "/accstatz", "/subsz?subs=1", "/jsz?accounts=1&streams=1&consumers=1&config=1", "/leafz", "/healthz", "/readyz", "/metrics"} {
		if body, code := s.get(http.MethodGet, s.Getenv("MONITOR")+page); code != http.StatusOK || strings.Contains(body, args[0]) {
			s.Fatalf("%s answers %d:\n%s", page, code, body)
		}
	}
}

func (s *script) json(args []string) {
	s.want(args, 3, "json FILE PATH VALUE")
	var at any
	if err := json.Unmarshal([]byte(s.ReadFile(args[0])), &at); err != nil {
		s.Fatalf("%s is not JSON: %v", args[0], err)
	}
	for k := range strings.SplitSeq(args[1], ".") {
		switch v := at.(type) {
		case map[string]any:
			at = v[k]
		case []any:
			i, err := strconv.Atoi(k)
			if err != nil || i >= len(v) {
				s.Fatalf("there is no %s of %s", k, args[1])
			}
			at = v[i]
		default:
			s.Fatalf("there is no %s of %s", k, args[1])
		}
	}
	have, ok := at.(string)
	if !ok {
		b, err := json.Marshal(at)
		s.Check(err)
		have = string(b)
	}
	if have != args[2] {
		s.Fatalf("%s is %s, not %s", args[1], have, args[2])
	}
}
