package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fetch reads the message that an advisory is about. That it is gone is no error: the letter says so.
func fetch(ctx context.Context, js jetstream.JetStream, a advisory) (Letter, error) {
	l := Letter{
		ID: ID{a.Stream, a.Consumer, a.Sequence}, Cause: a.cause, Reason: a.Reason, Deliveries: a.Deliveries, GivenUp: a.Time,
	}
	m, err := original(ctx, js, a.Stream, a.Sequence)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		l.Missing = fmt.Sprintf("stream %s was gone when the message was to be kept", a.Stream)
		return l, nil
	case errors.Is(err, jetstream.ErrMsgNotFound):
		l.Missing = fmt.Sprintf("the message was gone from stream %s when it was to be kept: expired, removed, or done with by all who wanted it", a.Stream)
		return l, nil
	case err != nil:
		return l, fmt.Errorf("stream %s: message %d: %w", a.Stream, a.Sequence, err)
	}
	if m.Time.After(a.Time) { // or the clock was set back
		st, err := js.Stream(ctx, a.Stream)
		if err != nil {
			return l, fmt.Errorf("stream %s: %w", a.Stream, err)
		}
		if st.CachedInfo().Created.After(a.Time) {
			l.Missing = fmt.Sprintf("stream %s has been made anew since, and with it the message is gone", a.Stream)
			return l, nil
		}
	}
	l.Subject, l.Time, l.Header, l.Data = m.Subject, m.Time, m.Header, m.Data
	return l, nil
}

// original is STREAM.MSG.GET. The direct way, which nats.go prefers, adds headers to those that the message has.
func original(ctx context.Context, js jetstream.JetStream, stream string, seq uint64) (m jetstream.RawStreamMsg, err error) {
	o := js.Options()
	api := jetstream.DefaultAPIPrefix
	if o.Domain != "" {
		api = "$JS." + o.Domain + ".API."
	} else if o.APIPrefix != "" {
		api = strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	resp, err := js.Conn().RequestWithContext(ctx, api+"STREAM.MSG.GET."+stream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		return m, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(resp.Data, &answer); err != nil {
		return m, err
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return m, jetstream.ErrMsgNotFound
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return m, jetstream.ErrStreamNotFound
	case answer.Error != nil:
		return m, answer.Error
	case answer.Message == nil:
		return m, jetstream.ErrInvalidJetStreamResponse
	}
	got := answer.Message
	m = jetstream.RawStreamMsg{Subject: got.Subject, Sequence: got.Seq, Data: got.Data, Time: got.Time}
	if len(got.Header) > 0 {
		m.Header, err = nats.DecodeHeadersMsg(got.Header)
	}
	return m, err
}
