package config

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"

	"github.com/deltran/deltran-bus/access"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// ownAccount stands for $G, the account of the streams, in the text that nats-server judges: there it may not be written.
// settle gives it its name back.
const ownAccount = "the bus"

// Grants is what each service may do, in the order of the declaration.
func (c *Config) Grants() []access.Grant {
	grants, _ := access.Derive(c.Services, c.reachable())
	return grants
}

func (c *Config) reachable() []access.Stream {
	streams := make([]access.Stream, len(c.Streams))
	for i, s := range c.Streams {
		streams[i] = access.Stream{Name: s.Name, Subjects: s.captures()}
		for _, con := range s.Consumers {
			streams[i].Consumers = append(streams[i].Consumers, access.Consumer{
				Name: con.Name, Deliver: con.DeliverSubject, FlowControl: con.FlowControl, Acks: con.AckPolicy != jetstream.AckNonePolicy,
			})
		}
	}
	return streams
}

// serviceProblems lists what is wrong with the services, by themselves and beside [nats].
func (c *Config) serviceProblems() (ps Problems) {
	_, wrong := access.Derive(c.Services, c.reachable())
	for _, m := range wrong {
		at := path{"services", m.Service}
		if m.Key != "" {
			at = at.with(m.Key)
		}
		if m.Key != "" && m.Index >= 0 {
			at = at.index(m.Index)
		}
		p := Problem{at: at, Path: at.String(), Message: m.Message, Hint: nearest(m.Written, m.Words)}
		if p.Hint == "" && len(m.Words) > 0 && len(m.Words) <= 8 && m.Key == "consumes" {
			p.Message += "; there are " + joined(m.Words)
		}
		ps = append(ps, p)
	}
	accounts, _ := c.NATS["accounts"].(map[string]any)
	for i, s := range c.Services {
		at := path{"services", s.Name}
		if _, taken := accounts[s.Name]; taken {
			ps.add(at.with("name"), "is also the name of [nats.accounts.%s]; a service has its own account, give one of the two another name", s.Name)
		}
		for key, n := range map[string]int{"service_connections": c.Bus.ServiceConnections, "service_subscriptions": c.Bus.ServiceSubscriptions} {
			if i == 0 && n < -1 {
				ps.add(path{"bus", key}, "%d is no limit that could hold; -1 is no limit", n)
			}
		}
	}
	own, _ := accounts[natsserver.DEFAULT_GLOBAL_ACCOUNT].(map[string]any)
	at := path{"nats", "accounts", natsserver.DEFAULT_GLOBAL_ACCOUNT}
	if own["imports"] != nil { // a reload would leave JetStream twice in it
		ps.add(at.with("imports"), "the account of the streams exports and does not import; let a service publish here what comes from elsewhere")
	}
	if own["jetstream"] != nil {
		ps.add(at.with("jetstream"), "is always on in the account of the streams, and limited by [nats.jetstream]")
	}
	if len(c.Services) == 0 {
		return ps
	}
	for _, key := range []string{"auth_callout", "token"} {
		if c.has("authorization", key) {
			ps.add(path{"nats", "authorization", key}, "cannot stand beside [[services]]: it would decide in their place who comes in")
		}
	}
	if c.has("authorization", "user") || c.has("authorization", "username") {
		ps.add(path{"nats", "authorization"}, "has a single user, which cannot stand beside [[services]]; declare a service with a role, or write users = [{ user = …, password = … }]")
	}
	return append(ps, c.certificateProblems()...)
}

// certificateProblems: where nats-server knows clients by their certificates, it asks nobody for a password.
func (c *Config) certificateProblems() (ps Problems) {
	first := slices.IndexFunc(c.Services, func(s access.Service) bool { return len(s.Certificates) > 0 })
	if first < 0 {
		return nil
	}
	at := path{"services", c.Services[first].Name, "certificates"}
	switch {
	case !c.has("tls"):
		ps.add(at, "need TLS; declare [nats.tls] with cert_file, key_file, and ca_file for who signed the clients' certificates")
	case !c.has("tls", "ca_file"):
		ps.add(at, "need [nats.tls] ca_file, which says who signs the clients' certificates")
	}
	instead := fmt.Sprintf("cannot stand beside the certificates of service %s: NATS looks for a certificate first, and where it maps them it takes no password; use nkeys or a certificate", c.Services[first].Name)
	for _, s := range c.Services {
		if s.Password != "" {
			ps.add(path{"services", s.Name, "password"}, "%s", instead)
		}
		if len(s.Users) > 0 {
			ps.add(path{"services", s.Name, "users"}, "%s", instead)
		}
	}
	return ps
}

// accounts adds the services to what goes to nats-server: an account for each, and one for the streams where accounts are
// declared at all. It returns that one, or nil.
func (c *Config) accounts(nats map[string]any) (own map[string]any) {
	accounts := map[string]any{}
	switch declared := nats["accounts"].(type) {
	case map[string]any:
		maps.Copy(accounts, declared)
	case []any: // of names
		for _, name := range declared {
			if name, ok := name.(string); ok {
				accounts[name] = map[string]any{}
			}
		}
	}
	if len(c.Services) == 0 && len(accounts) == 0 {
		return nil
	}
	own = c.ownAccount(accounts)
	for _, key := range []string{"mappings", "maps"} {
		if m, ok := nats[key]; ok { // they are of the account of the streams
			own["mappings"] = said{at: path{"nats", key}, value: m}
			delete(nats, key)
		}
	}
	exports := exports{list: listed(own["exports"])}
	users := listed(own["users"])
	taken := map[string]bool{}
	grants := c.Grants()
	for i, s := range c.Services {
		g := grants[i]
		if g.Inside {
			users = append(users, logins(s, g, taken)...)
			continue
		}
		exports.add(g)
		accounts[s.Name] = said{at: path{"services", s.Name}, value: map[string]any{
			"users":   logins(s, g, taken),
			"imports": imports(g),
			"limits":  c.limits(s),
		}}
	}
	for key, list := range map[string][]any{"users": users, "exports": exports.list} {
		if len(list) > 0 {
			own[key] = list
		}
	}
	accounts[ownAccount] = own
	nats["accounts"] = accounts
	return own
}

// finish completes the account of the streams, where there is one.
//
// It gets an export of either kind, of nothing and to nobody: at a reload nats-server keeps what an account exported before
// where the new declaration has none of that kind, to accounts that may be gone, and the reload after that one would panic
// over them.
//
// JetStream is on in it, or a reload would take it away. At the start the server switches it on when the other accounts
// stand: nats-server counts the room that it promises to those against what the streams have reserved by then.
func finish(own map[string]any, runs bool) {
	if own == nil {
		return
	}
	if runs {
		own["jetstream"] = "enabled"
	}
	exports, ok := own["exports"].([]any)
	if own["exports"] != nil && !ok {
		return // something that nats-server will complain about
	}
	for _, kind := range []string{"service", "stream"} {
		exports = append(exports, map[string]any{kind: nothing, "accounts": []any{ownAccount}})
	}
	own["exports"] = exports
}

// nothing is a subject that nobody uses.
const nothing = "$deltran.nothing"

// ownAccount is what is declared as [nats.accounts."$G"], such as what it shares with others, and takes it from the
// accounts.
func (c *Config) ownAccount(accounts map[string]any) map[string]any {
	const name = natsserver.DEFAULT_GLOBAL_ACCOUNT
	own := map[string]any{}
	declared, _ := accounts[name].(map[string]any)
	for k, v := range declared {
		own[k] = said{at: path{"nats", "accounts", name, k}, value: v}
	}
	delete(accounts, name)
	for other, v := range accounts {
		accounts[other] = renamed(v)
	}
	return own
}

// renamed is a declared account with $G, where it imports from it, under the name that nats-server takes.
func renamed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if out[k] = renamed(e); k == "account" && e == natsserver.DEFAULT_GLOBAL_ACCOUNT {
				out[k] = ownAccount
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = renamed(e)
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = renamed(e)
		}
		return out
	}
	return v
}

// listed is a declared list, each element with its place.
func listed(v any) (list []any) {
	s, ok := v.(said)
	if !ok {
		return nil
	}
	add := func(i int, e any) { list = append(list, said{at: s.at.index(i), value: e}) }
	switch v := s.value.(type) {
	case []any:
		for i, e := range v {
			add(i, e)
		}
	case []map[string]any:
		for i, e := range v {
			add(i, e)
		}
	default:
		return []any{s} // for nats-server to complain about
	}
	return list
}

// logins are the users of a service, one for each way to log in, all with the same rights. One that is taken is left out:
// it is a mistake that is reported.
func logins(s access.Service, g access.Grant, taken map[string]bool) (users []any) {
	subjects := func(rights []access.Right) map[string]any {
		if len(rights) == 0 { // an empty list would allow everything
			return map[string]any{"deny": ">"}
		}
		list := make([]any, len(rights))
		for i, r := range rights {
			list[i] = r.Subject
		}
		return map[string]any{"allow": list}
	}
	publish := subjects(g.Publish)
	if len(g.Except) > 0 {
		publish["deny"] = subjects(g.Except)["allow"]
	}
	permissions := map[string]any{"publish": publish, "subscribe": subjects(g.Subscribe)}
	at := path{"services", s.Name}
	add := func(login string, user map[string]any) {
		if !taken[login] {
			user["permissions"] = permissions
			users = append(users, user)
		}
		taken[login] = true
	}
	if s.Password != "" {
		add(s.Name, map[string]any{"user": s.Name, "password": said{at.with("password"), s.Password, secret}})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Users)) {
		add(name, map[string]any{"user": name, "password": said{at.with("users", name), s.Users[name], secret}})
	}
	for i, key := range s.NKeys {
		add(key, map[string]any{"nkey": said{at.with("nkeys").index(i), key, public}})
	}
	for i, subject := range s.Certificates {
		add(subject, map[string]any{"user": said{at.with("certificates").index(i), subject, public}})
	}
	return users
}

// imports are the rights of a service as what crosses into its account. JetStream's INFO always does: where it does not,
// nats-server answers for the account itself, that it has no JetStream, and sometimes before the real answer.
func imports(g access.Grant) (list []any) {
	for _, r := range needs(g) {
		list = append(list, map[string]any{"service": map[string]any{"account": ownAccount, "subject": r.Subject}})
	}
	for _, r := range g.Subscribe {
		if r.Shared {
			list = append(list, map[string]any{"stream": map[string]any{"account": ownAccount, "subject": r.Subject}})
		}
	}
	return list
}

func needs(g access.Grant) []access.Right {
	const info = "$JS.API.INFO"
	if slices.ContainsFunc(g.Publish, func(r access.Right) bool { return r.Subject == info }) {
		return g.Publish
	}
	return append(slices.Clip(g.Publish), access.Right{Subject: info})
}

// exports are the other side of the imports, one for each subject, for those alone who may.
type exports struct {
	list []any
	at   map[string]map[string]any
}

func (e *exports) add(g access.Grant) {
	for _, r := range needs(g) {
		x := e.of("service", r.Subject, g.Service)
		switch r.Answers {
		case access.Often:
			x["response_type"] = "stream"
		case access.Listed:
			x["response_type"], x["response_threshold"] = "stream", "5s"
		}
	}
	for _, r := range g.Subscribe {
		if r.Shared {
			e.of("stream", r.Subject, g.Service)
		}
	}
}

func (e *exports) of(kind, subject, service string) map[string]any {
	if e.at == nil {
		e.at = map[string]map[string]any{}
	}
	x := e.at[kind+" "+subject]
	if x == nil {
		x = map[string]any{kind: subject, "accounts": []any{}}
		e.at[kind+" "+subject] = x
		e.list = append(e.list, x)
	}
	x["accounts"] = append(x["accounts"].([]any), service)
	return x
}

// Limits are what a service may take. Only an account has limits of its own: who works in the account of the streams has
// those of the bus as a whole.
type Limits struct {
	Connections   int   `json:"connections"`   // at once; -1: no limit
	Subscriptions int   `json:"subscriptions"` // of each connection; -1: no limit
	Payload       int64 `json:"payload"`       // bytes of a message
	Pending       int64 `json:"pending"`       // bytes that may wait for one client
}

// LimitsOf are the limits of a declared service.
func (c *Config) LimitsOf(s access.Service) Limits {
	o, _, _ := c.natsOptions(nil)
	l := Limits{Connections: cmp.Or(o.MaxConn, -1), Subscriptions: cmp.Or(o.MaxSubs, -1), Payload: int64(o.MaxPayload), Pending: o.MaxPending}
	if s.Role.Inside() {
		return l
	}
	l.Connections, l.Subscriptions = c.most(s)
	if s.MaxPayload > 0 {
		l.Payload = min(l.Payload, int64(s.MaxPayload))
	}
	return l
}

// most is how many connections and subscriptions a service may have.
func (c *Config) most(s access.Service) (connections, subscriptions int) {
	return cmp.Or(s.MaxConnections, c.Bus.ServiceConnections, -1), cmp.Or(s.MaxSubscriptions, c.Bus.ServiceSubscriptions, -1)
}

func (c *Config) limits(s access.Service) map[string]any {
	connections, subscriptions := c.most(s)
	l := map[string]any{"max_connections": connections, "max_subscriptions": subscriptions}
	if s.MaxPayload > 0 {
		l["max_payload"] = s.MaxPayload
	}
	return l
}

// settle finishes what nats-server's configuration cannot say: the name of the account of the streams, and that clients
// are known by their certificates, without asking one of those who have an nkey.
func (c *Config) settle(o *natsserver.Options) {
	for _, a := range o.Accounts {
		if a.Name == ownAccount {
			a.Name = natsserver.DEFAULT_GLOBAL_ACCOUNT
		}
	}
	if o.TLSConfig == nil || !slices.ContainsFunc(c.Services, func(s access.Service) bool { return len(s.Certificates) > 0 }) {
		return
	}
	o.TLSMap = true
	if !o.TLSVerify {
		o.TLSConfig.ClientAuth = tls.VerifyClientCertIfGiven
	}
}

func joined(words []string) string {
	s := ""
	for i, w := range quoted(words) {
		switch {
		case i == 0:
		case i == len(words)-1:
			s += " and "
		default:
			s += ", "
		}
		s += w
	}
	return s
}
