package monitor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// questions are asked of nats-server's own monitor and of ours, on the same server.
var questions = []string{
	"/varz", "/connz", "/routez", "/gatewayz", "/leafz", "/subsz", "/subscriptionsz", "/accountz", "/accstatz", "/jsz",
	"/healthz", "/ipqueuesz", "/raftz",
	"/varz?callback=f", "/jsz?callback=f", // JSONP is gone from nats-server: both ignore it
	"/connz?subs=1&auth=true&sort=cid&limit=2&offset=0", "/connz?subs=detail", "/connz?state=closed", "/connz?state=any&sort=reason",
	"/connz?cid=999", "/connz?acc=$G&filter_subject=events.%3E", "/connz?user=x", "/connz?mqtt_client=x",
	"/subsz?subs=1&limit=3", "/subsz?subs=1&test=events.AUDIT.x", "/subsz?acc=$G",
	"/accountz?acc=$G", "/accountz?acc=nobody", "/accstatz?unused=1",
	"/jsz?accounts=true", "/jsz?streams=true", "/jsz?consumers=true&config=true&raft=true", "/jsz?acc=$G&streams=1",
	"/jsz?leader-only=true", "/jsz?direct-consumers=1&consumers=1", "/jsz?stream-leader-only=1&streams=1", "/jsz?accounts=1&limit=1&offset=7",
	"/routez?subs=1", "/gatewayz?accs=1", "/gatewayz?acc_name=x", "/leafz?subs=1", "/ipqueuesz?all=1", "/ipqueuesz?all=1&queues=JetStream",
	"/raftz?acc=$G", "/raftz?group=x",
	"/healthz?details=true", "/healthz?js-enabled-only=true", "/healthz?js-server-only=true", "/healthz?js-meta-only=true",
	"/healthz?account=$G", "/healthz?account=nobody", "/healthz?account=$G&stream=AUDIT", "/healthz?account=$G&stream=NO",
	"/healthz?account=$G&stream=AUDIT&consumer=reader", "/healthz?account=$G&stream=AUDIT&consumer=no", "/healthz?stream=AUDIT", "/healthz?consumer=x",
	// Wrong parameters.
	"/connz?sort=colour", "/connz?limit=many", "/connz?offset=%FF", "/connz?cid=-1", "/connz?state=open%20or%20so", "/connz?subs=perhaps", "/connz?sort=stop",
	"/subsz?subs=perhaps", "/subsz?test=a.*", "/jsz?accounts=2", "/jsz?limit=x", "/routez?subs=x", "/leafz?subs=x", "/accstatz?unused=x", "/ipqueuesz?all=x",
	"/healthz?js-enabled-only=x", "/healthz?details=x", "/gatewayz?accs=x", "/jsz?offset=-4&accounts=1", "/connz?limit=-4&offset=-4",
}

func TestSameAsNATS(t *testing.T) {
	t.Parallel()
	b := opening()
	b.start(t, &natsserver.Options{HTTPHost: "127.0.0.1", HTTPPort: natsserver.RANDOM_PORT})
	js := b.js(t)
	b.create(t, js, "stream AUDIT")
	b.create(t, js, "consumer AUDIT/reader")
	b.set(servingState())
	m := open(t, b, Options{})
	theirs := "http://" + b.NATS().MonitorAddr().String()
	for _, q := range questions {
		t.Run(q, func(t *testing.T) {
			want, have := get(t, theirs+q), get(t, m.URL()+q)
			if want.code != have.code {
				t.Fatalf("status %d, NATS says %d: %s", have.code, want.code, have.body)
			}
			if w, h := want.header.Get("Content-Type"), have.header.Get("Content-Type"); w != h {
				t.Errorf("content type %q, NATS says %q", h, w)
			}
			if w, h := shape(want.body), shape(have.body); w != h {
				t.Errorf("ours:\n%s\nNATS's:\n%s", h, w)
			}
			if want.header.Get("Content-Type") == "application/json" && want.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("NATS sends no CORS header any more: the wrapper is not needed")
			}
			if h := have.header.Values("Access-Control-Allow-Origin"); len(h) > 0 {
				t.Errorf("Access-Control-Allow-Origin: %q", h)
			}
			head := do(t, "HEAD", m.URL()+q)
			if head.code != have.code || head.body != "" {
				t.Errorf("HEAD: %d with %d bytes", head.code, len(head.body))
			}
		})
	}
}

// shape is what stays the same between two answers: all keys of a JSON document, or the text.
func shape(body string) string {
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	keys := map[string]bool{}
	collectKeys(keys, "", v)
	return strings.Join(slices.Sorted(maps.Keys(keys)), "\n")
}

func collectKeys(keys map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if strings.HasSuffix(path, "/http_req_stats") {
				continue // what has been asked so far
			}
			collectKeys(keys, path+"/"+k, e)
		}
	case []any:
		for _, e := range v {
			collectKeys(keys, path+"[]", e)
		}
	default:
		keys[fmt.Sprintf("%s %T", path, v)] = true
	}
}
