package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// patience is how long a NATS may take to answer if the caller says nothing else; chunks of data have it each.
const patience = 30 * time.Second

// client speaks JetStream's API as it is on the wire: a configuration that is given back as it was got loses no field
// that a library does not know.
type client struct {
	nc   *nats.Conn
	wait time.Duration
}

func newClient(nc *nats.Conn, wait time.Duration) client { return client{nc, cmp.Or(wait, patience)} }

// apiError is what JetStream answers instead of what was asked for.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s (JetStream error %d)", e.Description, cmp.Or(e.ErrCode, e.Code))
}

// The errors of JetStream that mean something to us.
const (
	errStreamNotFound = 10059
	errStreamExists   = 10130 // at a restore
	errNoMemory       = 10028
	errNoStorage      = 10047
	errRestoreFailed  = 10062
)

func isAPI(err error, code int) bool {
	var e *apiError
	return errors.As(err, &e) && e.ErrCode == code
}

// answered reports whether err, of a request, is JetStream's own answer: then nothing was done, and nothing will be.
func answered(err error) bool {
	var e *apiError
	return errors.As(err, &e)
}

// ask sends one request; answer, which may be nil, takes what comes back.
func (c client) ask(ctx context.Context, subject string, request, answer any) error {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	m, err := c.nc.RequestWithContext(ctx, "$JS.API."+subject, body)
	if err != nil {
		return unanswered(err, subject)
	}
	return read(m.Data, answer)
}

func read(b []byte, answer any) error {
	var e struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("an answer that is not JetStream's: %w", err)
	}
	if e.Error != nil {
		return e.Error
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}

func unanswered(err error, subject string) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("there is no JetStream for this account: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer to $JS.API.%s: NATS is busy, or these credentials may not ask that: %w", subject, err)
	}
	return err
}

// streamInfo is what STREAM.INFO says; Config is as it came.
type streamInfo struct {
	Config  json.RawMessage `json:"config"`
	State   state           `json:"state"`
	Created time.Time       `json:"created"`
}

// parked reports whether a restore has taken the stream's subjects from it.
func (i *streamInfo) parked() bool {
	cfg, err := parseConfig(i.Config)
	return err == nil && cfg.noted(notedParked) != ""
}

func (c client) info(ctx context.Context, stream string, deleted bool) (*streamInfo, error) {
	var i streamInfo
	err := c.ask(ctx, "STREAM.INFO."+stream, map[string]bool{"deleted_details": deleted}, &i)
	return &i, err
}

// list asks a request that is answered in pages, until it has all of them.
func list[T any](ctx context.Context, c client, subject string, page func() (*T, func() (got, total int))) error {
	for offset := 0; ; {
		answer, count := page()
		if err := c.ask(ctx, subject, map[string]int{"offset": offset}, answer); err != nil {
			return err
		}
		got, total := count()
		if offset += got; got == 0 || offset >= total {
			return nil
		}
	}
}

// stored is how many messages the streams of the account have taken, all together.
func (c client) stored(ctx context.Context) (n uint64, err error) {
	type answer struct {
		Total   int `json:"total"`
		Streams []struct {
			State struct {
				LastSeq uint64 `json:"last_seq"`
			} `json:"state"`
		} `json:"streams"`
	}
	err = list(ctx, c, "STREAM.LIST", func() (*answer, func() (int, int)) {
		a := &answer{}
		return a, func() (int, int) {
			for _, s := range a.Streams {
				n += s.State.LastSeq
			}
			return len(a.Streams), a.Total
		}
	})
	return n, err
}

// names are all streams of the account, in order.
func (c client) names(ctx context.Context) (names []string, err error) {
	type answer struct {
		Total   int      `json:"total"`
		Streams []string `json:"streams"`
	}
	err = list(ctx, c, "STREAM.NAMES", func() (*answer, func() (int, int)) {
		a := &answer{}
		return a, func() (int, int) { names = append(names, a.Streams...); return len(a.Streams), a.Total }
	})
	return names, err
}

// streams are all streams of the account with their configuration.
func (c client) streams(ctx context.Context) (infos []streamInfo, err error) {
	type answer struct {
		Total   int          `json:"total"`
		Streams []streamInfo `json:"streams"`
	}
	err = list(ctx, c, "STREAM.LIST", func() (*answer, func() (int, int)) {
		a := &answer{}
		return a, func() (int, int) { infos = append(infos, a.Streams...); return len(a.Streams), a.Total }
	})
	return infos, err
}

// recent is an error unless the NATS is of a version that backs up message by message.
func recent(nc *nats.Conn) error {
	v := nc.ConnectedServerVersion()
	var major, minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(v, "v"), "%d.%d", &major, &minor); err == nil && (major < 2 || major == 2 && minor < 15) {
		return fmt.Errorf("it is nats-server %s, whose snapshots are files of its own; from 2.15 on they are messages that can be checked. Upgrade it, or back it up with natscli: backup restore takes that folder", v)
	}
	return nil
}
