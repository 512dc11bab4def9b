package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
)

// listing is one page of STREAM.LIST or CONSUMER.LIST.
type listing struct {
	Total   int `json:"total"`
	Streams []struct {
		Config settings `json:"config"`
		State  struct {
			Consumers int `json:"consumer_count"`
		} `json:"state"`
	} `json:"streams"`
	Consumers []struct {
		Config settings `json:"config"`
	} `json:"consumers"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

// observe sees what there is. What happens meanwhile may be in it or not.
func observe(ctx context.Context, nc *nats.Conn) (layout, error) {
	l := layout{known: map[string]settings{}}
	var busy []string
	err := pages(ctx, nc, "STREAM.LIST", func(p listing) int {
		for _, s := range p.Streams {
			name := text(s.Config["name"])
			l.known[name] = s.Config
			if s.State.Consumers > 0 {
				busy = append(busy, name)
			}
		}
		return len(p.Streams)
	})
	for _, stream := range busy {
		if err != nil {
			break
		}
		err = pages(ctx, nc, "CONSUMER.LIST."+stream, func(p listing) int {
			for _, c := range p.Consumers {
				if durable := text(c.Config["durable_name"]); durable != "" {
					l.known[stream+"/"+durable] = c.Config
				}
			}
			return len(p.Consumers)
		})
	}
	l.as = time.Now()
	return l, err
}

func pages(ctx context.Context, nc *nats.Conn, request string, page func(listing) int) error {
	for offset := 0; ; {
		m, err := nc.RequestWithContext(ctx, api+request, fmt.Appendf(nil, `{"offset":%d}`, offset))
		if err != nil {
			return fmt.Errorf("%s: %w", request, err)
		}
		var p listing
		if err := json.Unmarshal(m.Data, &p); err != nil {
			return fmt.Errorf("%s: %w", request, err)
		}
		if p.Error != nil {
			return fmt.Errorf("%s: %s", request, p.Error.Description)
		}
		n := page(p)
		if offset += n; n == 0 || offset >= p.Total {
			return nil
		}
	}
}

func text(v json.RawMessage) (s string) {
	_ = json.Unmarshal(v, &s)
	return s
}

// adopt takes what was observed, beside what was heard before.
func (l *layout) adopt(seen layout) {
	maps.Copy(seen.known, l.known) // the later
	*l = seen
}
