package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// A Mistake is what is wrong with a service.
type Mistake struct {
	Service string
	Key     string   // of its table; empty for the service as a whole
	Index   int      // of the element of the key's list, -1 for all of it
	Message string   // what is wrong, and what is allowed
	Written string   // what Words are alternatives for
	Words   []string // what could have been meant
}

// wrongSubject says what is wrong with a subject that a service publishes.
func wrongSubject(s Service, i int, streams []Stream) (Mistake, bool) {
	subject := s.Publishes[i]
	m := Mistake{Service: s.Name, Key: "publishes", Index: i, Written: subject}
	if !natsserver.IsValidSubject(subject) {
		m.Message = fmt.Sprintf("%q is not a subject; tokens without blanks, joined by dots", subject)
		return m, true
	}
	if strings.ContainsAny(subject[:1], "$_*>") { // NATS's own, inboxes, or what covers them
		m.Message = fmt.Sprintf("%q is not for services; they publish to streams, by subjects whose first token is theirs", subject)
		return m, true
	}
	if slices.ContainsFunc(Records(), func(own string) bool { return natsserver.SubjectMatchesFilter(subject, own) }) {
		m.Message = fmt.Sprintf("%q is where the bus itself records, and nobody else; publish to another subject below events.audit", subject)
		return m, true
	}
	for j, other := range s.Publishes[:i] {
		covered := natsserver.SubjectMatchesFilter(subject, other) || natsserver.SubjectMatchesFilter(other, subject)
		if natsserver.IsValidSubject(other) && natsserver.SubjectsCollide(other, subject) && !covered {
			m.Message = fmt.Sprintf("%q overlaps %q of publishes[%d] in part, so that one message would be stored twice; write subjects that have nothing in common, or one that covers both", subject, other, j)
			return m, true
		}
	}
	if len(capturing(subject, streams)) > 0 {
		return m, false
	}
	for _, st := range streams {
		m.Words = append(m.Words, st.Subjects...)
	}
	m.Message = fmt.Sprintf("no stream captures %q: nothing published there would be kept", subject)
	return m, true
}

// mistakes are those of a service by itself, apart from what it publishes and consumes.
func mistakes(s Service) (ms []Mistake) {
	bad := func(key string, i int, format string, args ...any) {
		ms = append(ms, Mistake{Service: s.Name, Key: key, Index: i, Message: fmt.Sprintf(format, args...)})
	}
	if strings.Trim(s.Name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" || s.Name == "SYS" {
		bad("name", -1, "%q cannot name a service: letters, digits, - and _, and not SYS, which is NATS's own account", s.Name)
	}
	switch s.Role {
	case None, Observer, Operator, Admin:
	default:
		ms = append(ms, Mistake{Service: s.Name, Key: "role", Index: -1, Message: fmt.Sprintf("%q is not one of \"observer\", \"operator\", \"admin\"", s.Role),
			Written: string(s.Role), Words: []string{string(Observer), string(Operator), string(Admin)}})
	}
	if s.Role.Inside() && len(s.Publishes)+len(s.Consumes) > 0 {
		bad("role", -1, "an %s works beside the services, in the account of the streams; give what it publishes and consumes to a service of its own", s.Role)
	}
	if s.Role == None && len(s.Publishes)+len(s.Consumes) == 0 {
		bad("", -1, "may do nothing; give it publishes, consumes or a role")
	}
	if s.Password == "" && len(s.Users)+len(s.NKeys)+len(s.Certificates) == 0 {
		bad("", -1, "has no way to log in; give it a password, nkeys or certificates")
	}
	for i, key := range s.NKeys {
		switch {
		case nkeys.IsValidPublicUserKey(key):
		case strings.HasPrefix(key, "S"):
			bad("nkeys", i, "is a seed, which is the secret half and now has been written down; make a new pair, and declare the public key, which begins with U")
		default:
			bad("nkeys", i, "%q is not the public key of a user; it begins with U and has 56 characters", key)
		}
	}
	for i, c := range s.Certificates {
		if strings.TrimSpace(c) == "" {
			bad("certificates", i, "is empty; write the certificate's subject such as \"CN=%s\", or a DNS name, e-mail address or URI of it", s.Name)
		}
	}
	for key, n := range map[string]int{"max_connections": s.MaxConnections, "max_subscriptions": s.MaxSubscriptions, "max_payload": int(s.MaxPayload)} {
		if n < -1 {
			bad(key, -1, "%d is no limit that could hold; -1 is no limit", n)
		}
	}
	return ms
}

// shared are the mistakes of services together: what logs in has to say which one it is.
func shared(services []Service) (ms []Mistake) {
	owner := map[string]string{}
	for _, s := range services {
		take := func(login, key string, i int) {
			if o, taken := owner[login]; taken {
				whose := "service " + o
				if o == s.Name {
					whose = "the same service"
				}
				ms = append(ms, Mistake{Service: s.Name, Key: key, Index: i, Message: fmt.Sprintf("%q logs in as %s already", login, whose)})
			}
			owner[login] = s.Name
		}
		if s.Password != "" {
			take(s.Name, "password", -1)
		}
		for _, user := range slices.Sorted(maps.Keys(s.Users)) {
			take(user, "users", -1)
		}
		for i, key := range s.NKeys {
			take(key, "nkeys", i)
		}
		for i, c := range s.Certificates {
			take(c, "certificates", i)
		}
	}
	return ms
}
