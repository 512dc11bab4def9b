package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/access"
	"github.com/deltran/deltran-bus/config"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const declaration = `
[nats]
listen = "127.0.0.1:0"

[[streams]]
name = "RISK"
[[streams.consumers]]
name = "pushed"
deliver_subject = "deliver.risk"
ack_policy = "explicit"
flow_control = true
idle_heartbeat = "5s"

[[services]]
name = "token-engine"
password = "env:MATRIX_PASSWORD"
publishes = ["events.transactions.>"]

[[services]]
name = "compliance-engine"
password = "env:MATRIX_PASSWORD"
publishes = ["events.compliance.*.raised", "events.risk.*"]

[[services]]
name = "notification-engine"
password = "env:MATRIX_PASSWORD"
consumes = ["NOTIFICATIONS/notification-engine-consumer"]

[[services]]
name = "reporting-engine"
password = "env:MATRIX_PASSWORD"
publishes = ["events.reporting.>"]
consumes = ["REPORTING/reporting-engine-consumer"]

[[services]]
name = "risk-desk"
password = "env:MATRIX_PASSWORD"
consumes = ["RISK/pushed"]

[[services]]
name = "everywhere"
password = "env:MATRIX_PASSWORD"
publishes = ["events.>"]

[[services]]
name = "ledger"
password = "env:MATRIX_PASSWORD"
publishes = ["events.audit.>", "events.settlement.*"]

[[services]]
name = "auditor"
password = "env:MATRIX_PASSWORD"
role = "observer"

[[services]]
name = "on-call"
password = "env:MATRIX_PASSWORD"
role = "operator"

[[services]]
name = "root"
password = "env:MATRIX_PASSWORD"
role = "admin"

[nats.accounts.TENANT]
jetstream = "enabled"
users = [{ user = "tenant", password = "env:MATRIX_PASSWORD" }]
`

// An attempt is one thing that a client could try, and whether it has to work.
type attempt struct {
	what    string
	subject string
	body    string
	allowed bool
}

// matrix is what a service could name: every subject, every operation of JetStream's API on every stream and consumer,
// the system's subjects. Whether it has to work is said from the declaration in words of its own, not by what Derive says.
func matrix(c *config.Config, s access.Service) (all []attempt) {
	changes, sees := s.Role.Inside(), s.Role != access.None
	add := func(allowed bool, what, subject, body string) {
		all = append(all, attempt{what, subject, body, allowed})
	}
	publishes := func(subject string) bool {
		return s.Role == access.Admin || slices.ContainsFunc(s.Publishes, func(p string) bool { return natsserver.SubjectMatchesFilter(subject, p) })
	}
	for _, st := range c.Streams {
		domain := "events." + strings.ToLower(st.Name)
		for _, subject := range []string{domain + ".created", domain + ".case.raised", domain + ".a.b.c"} {
			add(publishes(subject), "publish", subject, "{}")
		}
	}
	for _, own := range []string{"audit.incomplete", "bus.started", "client.rejected", "consumer.deleted", "dead-letter.redriven", "jetstream.refused",
		"message.deleted", "permission.denied", "stream.purged"} { // that are looked at by whoever wants to know what happened
		add(s.Role == access.Admin, "pretend to be the bus", "events.audit."+own, "{}")
	}
	consumes := func(name string) bool { return slices.Contains(s.Consumes, name) }
	for _, st := range c.Streams {
		of := func(word string) string { return "$JS.API.STREAM." + word + "." + st.Name }
		hasConsumer := slices.ContainsFunc(s.Consumes, func(name string) bool { return strings.HasPrefix(name, st.Name+"/") })
		add(sees || hasConsumer, "look at stream", of("INFO"), "")
		add(sees, "read message", of("MSG.GET"), `{"seq":1}`)
		add(sees, "read message directly", "$JS.API.DIRECT.GET."+st.Name, `{"seq":1}`)
		add(sees, "read last message directly", "$JS.API.DIRECT.GET."+st.Name+".events.x", "")
		add(sees, "list consumers", "$JS.API.CONSUMER.LIST."+st.Name, "")
		add(sees, "name consumers", "$JS.API.CONSUMER.NAMES."+st.Name, "")
		// What would change something is asked with a body that JetStream refuses: whether it asks JetStream is the question.
		add(changes, "make stream", of("CREATE"), "no")
		add(changes, "change stream", of("UPDATE"), "no")
		add(changes, "delete message", of("MSG.DELETE"), "no")
		add(changes, "purge stream", of("PURGE"), "no")
		add(changes, "delete stream", of("DELETE")+"-NOT-THERE", "")
		add(changes, "snapshot", of("SNAPSHOT"), "no")
		add(changes, "restore", of("RESTORE"), "no")
		add(changes, "make consumer", "$JS.API.CONSUMER.CREATE."+st.Name+".mine", "no")
		add(changes, "make filtered consumer", "$JS.API.CONSUMER.CREATE."+st.Name+".mine.events.x", "no")
		add(changes, "make consumer the old way", "$JS.API.CONSUMER.DURABLE.CREATE."+st.Name+".mine", "no")
		if !changes { // of another, for real
			add(false, "delete stream", of("DELETE"), "")
			add(false, "purge stream", of("PURGE"), "")
		}
		for _, con := range st.Consumers {
			name, id := st.Name+"/"+con.Name, st.Name+"."+con.Name
			add(sees || consumes(name), "look at consumer", "$JS.API.CONSUMER.INFO."+id, "")
			if con.DeliverSubject == "" {
				add(changes || consumes(name), "pull", "$JS.API.CONSUMER.MSG.NEXT."+id, `{"batch":1,"no_wait":true}`)
			} else if s.Role != access.Admin {
				add(false, "pretend to deliver", con.DeliverSubject, "")
			}
			add(changes, "pause consumer", "$JS.API.CONSUMER.PAUSE."+id, "no")
			add(changes, "reset consumer", "$JS.API.CONSUMER.RESET."+id, "no")
			add(changes, "delete consumer", "$JS.API.CONSUMER.DELETE."+id+"-NOT-THERE", "")
			if !changes {
				add(false, "delete consumer", "$JS.API.CONSUMER.DELETE."+id, "")
			}
		}
	}
	asks := len(s.Consumes) > 0
	add(sees || asks, "account", "$JS.API.INFO", "")
	add(sees || asks, "name streams", "$JS.API.STREAM.NAMES", "")
	add(sees, "list streams", "$JS.API.STREAM.LIST", "")
	if !changes { // who changes is not answered either: these are for clusters
		add(false, "remove server", "$JS.API.SERVER.REMOVE", "no")
		add(false, "delete account", "$JS.API.ACCOUNT.PURGE.$G", "no")
	}
	for _, subject := range []string{"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.$G.JSZ", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.X.KICK"} {
		if s.Role != access.Admin { // whose account is not the system's either: TestSystem
			add(false, "system", subject, "")
		}
	}
	return all
}

// Every service tries everything that it could name, as a real client of the real server.
func TestMatrix(t *testing.T) {
	t.Parallel()
	b := start(t, declaration)
	b.fill(t)
	cases := 0
	for _, s := range b.cfg.Services {
		nc := b.connect(t, s.Name)
		for _, a := range matrix(b.cfg, s) {
			cases++
			before := b.stored(t)
			refused, answered := try(t, nc, a)
			switch {
			case a.allowed && refused:
				t.Errorf("%s may not %s: %s", s.Name, a.what, a.subject)
			case a.allowed && !answered:
				t.Errorf("%s: %s: nobody answers at %s", s.Name, a.what, a.subject)
			case !a.allowed && !refused:
				t.Errorf("%s may %s: %s", s.Name, a.what, a.subject)
			case !a.allowed && answered:
				t.Errorf("%s is answered although it may not %s: %s", s.Name, a.what, a.subject)
			}
			if after := b.stored(t); !a.allowed && after != before {
				t.Errorf("%s: %s: %s changed the streams:\n%s\n%s", s.Name, a.what, a.subject, before, after)
			}
		}
	}
	t.Logf("%d cases", cases)
	if cases < 200 {
		t.Errorf("%d cases are few", cases)
	}
}

// try asks, and reports whether the server refused to take the request, and whether somebody answered.
func try(t *testing.T, nc *nats.Conn, a attempt) (refused, answered bool) {
	t.Helper()
	sub, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	if err := nc.PublishRequest(a.subject, sub.Subject, []byte(a.body)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil { // what is refused is refused before the answer to this
		t.Fatal(err)
	}
	if err := nc.LastError(); err != nil && strings.Contains(err.Error(), fmt.Sprintf("Publish to %q", a.subject)) {
		_, err := sub.NextMsg(time.Nanosecond)
		return true, err == nil
	}
	m, err := sub.NextMsg(2 * time.Second)
	return false, err == nil && m.Header.Get("Status") != "503"
}

// Who may listen where. What a service sends over the server to itself, nobody else hears, whatever it subscribes to.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	b := start(t, declaration)
	for _, s := range b.cfg.Services {
		nc := b.connect(t, s.Name)
		for subject, allowed := range map[string]bool{
			">":                            false,
			"events.>":                     false,
			"events.transactions.>":        false,
			"*.*.*":                        false,
			"_INBOX.>":                     true,
			"_INBOX_" + s.Name + ".>":      true,
			"_INBOX_notification-engine.>": s.Name == "notification-engine",
			"_R_.>":                        false,
			"$JS.>":                        false,
			"$JS.ACK.>":                    false,
			"$JS.API.>":                    false,
			"$JS.EVENT.>":                  s.Role == access.Operator,
			"$SYS.>":                       false,
			"deliver.risk":                 s.Name == "risk-desk",
			"deliver.>":                    false,
		} {
			if s.Role == access.Admin {
				continue
			}
			sub, err := nc.SubscribeSync(subject)
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			err = nc.LastError()
			if refused := err != nil && strings.Contains(err.Error(), fmt.Sprintf("Subscription to %q", subject)); refused == allowed {
				t.Errorf("%s subscribes to %s: refused %t", s.Name, subject, refused)
			}
			_ = sub.Unsubscribe()
		}
	}
}

// No account but the system's own is the system's: nobody who is declared sees another's connections or servers.
func TestSystem(t *testing.T) {
	t.Parallel()
	b := start(t, declaration)
	for _, s := range b.cfg.Services {
		nc := b.connect(t, s.Name)
		for _, subject := range []string{"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT.token-engine.CONNZ"} {
			if m, err := nc.Request(subject, nil, 20*time.Millisecond); err == nil {
				t.Errorf("%s: %s: %s", s.Name, subject, m.Data)
			}
		}
	}
}
