package config

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// natsKeys is every word that nats-server's configuration knows, to propose the nearest.
//
//go:embed natskeys.txt
var natsKeys string

// elsewhere is what may not stand in [nats], and where it is said instead.
var elsewhere = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for where, keys := range map[string]string{
		`is said by listen = "HOST:PORT"`:                                "host net port",
		"is said by [monitor] listen":                                    "http http_port monitor_port https https_port http_base_path",
		"is said by [bus] lame_duck":                                     "lame_duck_duration lame_duck_grace_period",
		"is said by [monitor] debug":                                     "prof_port prof_block_rate",
		"is said by --log-level":                                         "debug trace trace_verbose trace_headers",
		"is said by --log-format; the log goes to stderr":                "logfile log_file logfile_size_limit log_size_limit logfile_max_num log_max_num syslog remote_syslog logtime logtime_utc",
		"is said by --ports-file":                                        "ports_file_dir",
		"is said by [nats.jetstream] store_dir":                          "store_dir storedir",
		"is called leafnodes":                                            "leaf",
		"is called websocket":                                            "ws",
		"is not for a bus that has its own users; JWT needs NATS itself": "operator operators roots root root_operator root_operators resolver account_resolver accounts_resolver resolver_tls resolver_preload resolver_pinned_accounts trusted trusted_keys default_sentinel",
		"would take the bus's own account away":                          "no_system_account no_system no_sys_acc",
	} {
		for _, k := range strings.Fields(keys) {
			all[k] = where
		}
	}
	return all
})

// aliases are nats-server's second names for keys that deltran.toml sets: said twice, the wrong one could win.
var aliases = map[string]string{
	"store": "store_dir", "storedir": "store_dir", "sync": "sync_interval", "max_file": "max_file_store",
	"max_mem": "max_memory_store", "max_mem_store": "max_memory_store",
}

// ours is what of [nats] goes to nats-server, and what does not and why.
func (c *Config) ours(runs bool) (nats map[string]any, ps Problems) {
	nats = map[string]any{}
	for k, v := range c.NATS {
		switch lower := strings.ToLower(k); {
		case elsewhere()[lower] != "":
			ps.add(path{"nats", k}, "%s", elsewhere()[lower])
		case k != lower:
			ps.add(path{"nats", k}, "is written in lower case: %s", lower)
		case lower != "jetstream":
			nats[k] = v
		}
	}
	if _, ok := c.NATS["jetstream"].(map[string]any); !ok {
		ps.add(path{"nats", "jetstream"}, "is not a table; JetStream is always on, write its settings in [nats.jetstream]")
	}
	js := map[string]any{}
	for k, v := range c.jetStream() {
		at := path{"nats", "jetstream", k}
		switch lower := strings.ToLower(k); {
		case aliases[lower] != "":
			ps.add(at, "is called %s here", aliases[lower])
		case lower == "enabled" || lower == "enable":
			ps.add(at, "JetStream is always on: leave it out")
		case k != lower:
			ps.add(at, "is written in lower case: %s", lower)
		default:
			js[k] = v
		}
	}
	if s, ok := js["store_dir"].(string); c.jetStream() != nil && (!ok || s == "") {
		ps.add(path{"nats", "jetstream", "store_dir"}, "names no folder; write one such as \"./deltran-data\"")
	}
	nats["jetstream"] = js
	finish(c.accounts(nats), runs)
	return nats, ps
}

// natsOptions lets nats-server judge [nats]; the options hold what it understood, also when there are problems. Without
// resolve what only the machine it runs on can say is left out. The same text is judged once.
func (c *Config) natsOptions(resolve func(ref string) (string, error)) (o *natsserver.Options, secrets []string, ps Problems) {
	return c.understood(resolve, false)
}

// understood is natsOptions, for a nats-server that runs already or not.
func (c *Config) understood(resolve func(ref string) (string, error), runs bool) (o *natsserver.Options, secrets []string, ps Problems) {
	text := natsText{resolve: resolve}
	nats, ps := c.ours(runs)
	text.write(nats)
	all := strings.Join(text.lines, "\n") + "\n"
	if len(ps)+len(text.problems) == 0 && !text.files {
		if o := c.judged.find(all); o != nil {
			return o, text.secrets, nil
		}
	}
	o, said := text.judge(all)
	c.settle(o)
	ps = append(append(ps, text.problems...), said...)
	for i := range ps {
		ps[i].Message = Redact(ps[i].Message, text.secrets)
	}
	if len(ps) == 0 && len(o.Accounts) == 0 { // a server takes accounts apart
		c.judged.keep(all, o)
	}
	return o, text.secrets, ps
}

// judged is what nats-server made of [nats] last: a start asks several times.
type judged struct {
	mu      sync.Mutex
	text    string
	options *natsserver.Options
}

func (j *judged) find(text string) *natsserver.Options {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.text != text {
		return nil
	}
	return j.options.Clone()
}

func (j *judged) keep(text string, o *natsserver.Options) {
	if j != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.text, j.options = text, o.Clone()
	}
}

// judge asks nats-server; the options hold what it understood.
func (t *natsText) judge(conf string) (*natsserver.Options, Problems) {
	o := &natsserver.Options{NoSigs: true, NoLog: true} // signals and log are the process's: NewServer would take SIGTERM
	err := o.ProcessConfigString(conf)
	if o.Port == 0 {
		o.Port = natsserver.RANDOM_PORT // 0 would be 4222
	}
	if err == nil {
		return o, nil
	}
	var ps Problems
	var all interface {
		Errors() []error
		Warnings() []error
	}
	if !errors.As(err, &all) {
		ps.add(path{"nats"}, "%s", plainWords(err.Error()))
		return o, ps
	}
	for _, e := range all.Errors() {
		ps = append(ps, t.place(e))
	}
	for _, e := range all.Warnings() {
		w := t.place(e)
		if !slices.ContainsFunc(ps, func(p Problem) bool { return p.Path == w.Path }) { // an error says it better
			ps = append(ps, w)
		}
	}
	return o, ps
}

var (
	unknownField = lazy(`^unknown field "(.*)"$`)
	wrongType    = lazy(`^interface conversion: interface \{\} is (\S+), not (\S+)$`)
	badDuration  = lazy(`^error parsing \S+: time: (?:invalid duration|unknown unit .* in duration|missing unit in duration) (".*")$`)
	badAddress   = lazy(`^could not parse (?:address string|port) (".*")$`)
	places       = lazy(`(\S*:\d+:\d+: )|( in line \d+)`)
)

// lazy is a regular expression that is compiled when it is first needed: most starts make no mistakes.
func lazy(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// place brings one of nats-server's complaints back to our key.
func (t *natsText) place(e error) Problem {
	p := Problem{at: path{"nats"}, Message: e.Error(), foreign: true}
	if source := sourceOf(e); source != "" {
		p.Message = strings.TrimPrefix(p.Message, source+": ")
		if parts := strings.Split(source, ":"); len(parts) == 3 {
			if n, _ := strconv.Atoi(parts[1]); n > 0 && n <= len(t.paths) {
				p.at = t.paths[n-1]
			}
		}
	}
	for i, line := range t.lines { // it has no place: then where the value stands that it quotes
		value := line[strings.Index(line, `": `)+1:]
		value = strings.TrimPrefix(value, ": ")
		if len(p.at) == 1 && len(value) > 3 && value[0] == '"' && strings.Contains(p.Message, value) {
			p.at = t.paths[i]
		}
	}
	if m := unknownField().FindStringSubmatch(p.Message); m != nil {
		for _, at := range t.paths { // the line may be the table's, not the key's
			if at.last() == m[1] {
				p.at = at
			}
		}
		return unknown(p.at, strings.Fields(natsKeys))
	}
	p.Path, p.Message = p.at.String(), plainWords(p.Message)
	return p
}

// sourceOf is where nats-server places a complaint, as ":LINE:COLUMN". Some have no place, and panic when asked.
func sourceOf(e error) (source string) {
	defer func() { _ = recover() }()
	var placed interface{ Source() string }
	if errors.As(e, &placed) {
		source = placed.Source()
	}
	return source
}

// plainWords rewords what nats-server says in Go's terms.
func plainWords(s string) string {
	s = places().ReplaceAllString(s, "")
	if m := badDuration().FindStringSubmatch(s); m != nil {
		return m[1] + " is not a duration that nats-server takes; write one such as \"30s\" or \"2m\""
	}
	if m := badAddress().FindStringSubmatch(s); m != nil {
		return m[1] + " is not an address; write HOST:PORT such as \"127.0.0.1:4222\""
	}
	m := wrongType().FindStringSubmatch(s)
	if m == nil {
		return s
	}
	return fmt.Sprintf("%s stands where nats-server wants %s", typeWord(m[1]), wantedWord(m[2]))
}

func wantedWord(t string) string {
	if strings.HasPrefix(t, "int") {
		return "a whole number or a size such as \"8MB\""
	}
	return typeWord(t)
}

func typeWord(t string) string {
	switch {
	case strings.HasPrefix(t, "map"):
		return "a table"
	case strings.HasPrefix(t, "[]"):
		return "a list"
	case t == "string":
		return "a string"
	case t == "bool":
		return "true or false"
	case strings.HasPrefix(t, "int"):
		return "a whole number"
	case strings.HasPrefix(t, "float"):
		return "a number with a fraction"
	}
	return "a " + t
}
