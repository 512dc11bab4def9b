package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// api sends JetStream's own requests. nats.go's calls are not enough: they drop the fields of a newer server, create
// pull and push consumers by different functions, and cost a STREAM.INFO per handle.
type api struct {
	nc      *nats.Conn
	prefix  string
	timeout time.Duration
}

func newAPI(js jetstream.JetStream) api {
	o := js.Options()
	prefix := jetstream.DefaultAPIPrefix
	switch {
	case o.Domain != "":
		prefix = "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		prefix = strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return api{js.Conn(), prefix, o.DefaultTimeout}
}

// updateTimeout is for requests that may have to delete many messages before they are answered.
const updateTimeout = time.Minute

// call asks subject with req as JSON (nil: no payload) and decodes the answer into resp (nil: only its error counts).
// An answer that is an error is returned as a *jetstream.APIError. Without a deadline in ctx it waits for wait, or
// js.Options().DefaultTimeout when that is 0.
func (a api) call(ctx context.Context, wait time.Duration, subject string, req, resp any) error {
	if _, ok := ctx.Deadline(); !ok {
		if wait == 0 {
			wait = a.timeout
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	var body []byte
	if req != nil {
		var err error
		if body, err = json.Marshal(req); err != nil {
			return err
		}
	}
	msg, err := a.nc.RequestWithContext(ctx, a.prefix+subject, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return jetstream.ErrJetStreamNotEnabled
	}
	if err != nil {
		return err
	}
	var status struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &status); err != nil {
		return err
	}
	if status.Error != nil {
		return status.Error
	}
	if resp == nil {
		return nil
	}
	return json.Unmarshal(msg.Data, resp)
}

// refusal is the code of an answer that is an error, 0 for any other error.
func refusal(err error) jetstream.ErrorCode {
	if e := (*jetstream.APIError)(nil); errors.As(err, &e) {
		return e.ErrorCode
	}
	return 0
}
