// Command smoke looks at a built binary as a new user does: start it, look at its endpoints, publish, pull the plug,
// start it again, and find everything where it was.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/report"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
	"github.com/nats-io/nats.go/jetstream"
)

const subject = "events.clearing.window.opened" // the four-part name that the specification's subjects do not match

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bus := flag.String("bus", "", "the `binary` to look at; without it, one is built from the working tree")
	bin := flag.String("bin", "bin", "`folder` for the binary that is built")
	flag.Parse()
	if err := run(ctx, *bus, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "smoke:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bus, bin string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*busproc.Patience)
	defer cancel()
	if bus == "" {
		if bus, err = tools.Bus(ctx, bin); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "deltran-bus-smoke-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	r := report.New(os.Stdout)
	if err := story(ctx, bus, filepath.Join(dir, "store"), r); err != nil {
		r.Check("smoke", "told to its end", err)
	}
	return r.Close()
}

// story stops at the first thing that makes the rest meaningless.
func story(ctx context.Context, bus, store string, r *report.Report) error {
	b, err := busproc.Start(ctx, bus, "--store-dir", store)
	if !r.Check("first", "starts on an empty folder", err) {
		return nil
	}
	defer func() { _ = b.Kill() }()
	endpoints(r, "first", b.Monitor)
	before, err := layout(ctx, b.Client)
	r.Check("first", "8 streams and 2 consumers stand", errors.Join(err, count(before)))
	event := fmt.Sprintf(`{"event_type":"window.opened","timestamp":%q}`, time.Now().UTC().Format(time.RFC3339Nano))
	r.Check("first", subject+" is stored in CLEARING", publish(ctx, b.Client, event))
	if !r.Check("first", "is killed", b.Kill()) {
		return nil
	}
	r.Check("first", "the banner says in how many milliseconds it was ready", contains(b.Stderr(), "ready in "))

	again, err := busproc.Start(ctx, bus, "--store-dir", store)
	if !r.Check("second", "starts on the store of the killed one", err) {
		return nil
	}
	defer func() { _ = again.Kill() }()
	endpoints(r, "second", again.Monitor)
	after, err := layout(ctx, again.Client)
	r.Check("second", "nothing was made again and nothing changed", errors.Join(err, equal(after, before)))
	r.Check("second", "the event is there", stored(ctx, again.Client, event))
	r.Check("second", "ends with exit code 0 on SIGTERM", again.Stop())
	return nil
}

func endpoints(r *report.Report, who, url string) {
	for _, e := range []struct{ path, word string }{
		{"/healthz", `"status":"ok"`},
		{"/readyz", ""},
		{"/jsz", `"streams":8,"consumers":2`},
		{"/connz", `"num_connections":`},
		{"/metrics", `jetstream_stream_total_messages{`},
	} {
		body, err := get(url + e.path)
		r.Check(who, e.path+" answers", errors.Join(err, contains(compact(body), e.word)))
	}
}

func get(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", resp.Status)
	}
	return string(body), err
}

// compact takes the white space out of an indented JSON body.
func compact(body string) string { return strings.Join(strings.Fields(body), "") }

func contains(text, word string) error {
	if !strings.Contains(text, word) {
		return fmt.Errorf("no %q in:\n%s", word, text)
	}
	return nil
}

// layout is every stream and consumer with its configuration and the time of its creation, as JSON by its name.
func layout(ctx context.Context, url string) (map[string]string, error) {
	found := map[string]string{}
	note := func(name string, created time.Time, config any) error {
		text, err := json.Marshal([]any{created, config})
		found[name] = string(text)
		return err
	}
	return found, busproc.WithJetStream(url, func(js jetstream.JetStream) error {
		streams := js.ListStreams(ctx)
		for s := range streams.Info() {
			stream, err := js.Stream(ctx, s.Config.Name)
			if err = errors.Join(err, note(s.Config.Name, s.Created, s.Config)); err != nil {
				return err
			}
			consumers := stream.ListConsumers(ctx)
			for c := range consumers.Info() {
				if err := note(s.Config.Name+"/"+c.Name, c.Created, c.Config); err != nil {
					return err
				}
			}
			if err := consumers.Err(); err != nil {
				return err
			}
		}
		return streams.Err()
	})
}

func count(layout map[string]string) error {
	if len(layout) != 10 {
		return fmt.Errorf("%d found: %v", len(layout), layout)
	}
	return nil
}

func equal(after, before map[string]string) error {
	for name := range before {
		if after[name] != before[name] {
			return fmt.Errorf("%s was %s\nand is %s", name, before[name], after[name])
		}
	}
	return count(after)
}

func publish(ctx context.Context, url, event string) error {
	return busproc.WithJetStream(url, func(js jetstream.JetStream) error {
		ack, err := js.Publish(ctx, subject, []byte(event))
		if err == nil && ack.Stream != "CLEARING" {
			err = fmt.Errorf("stored in %s", ack.Stream)
		}
		return err
	})
}

func stored(ctx context.Context, url, event string) error {
	return busproc.WithJetStream(url, func(js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, "CLEARING")
		if err != nil {
			return err
		}
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return err
		}
		return contains(string(msg.Data), event)
	})
}
