package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
)

// secretKeys are the keys of [nats] whose value nobody may read.
var secretKeys = []string{
	"password", "pass", "token",
	"key", "ek", "encryption_key", "prev_key", "prev_ek", "prev_encryption_key", // of [nats.jetstream]
	"encryption_password", "srk_password", "seed",
}

var (
	bcrypted = lazy(`^\$2[abxy]\$\d\d\$.{53}$`)
	nkeySeed = lazy(`^S[A-Z2-7]{50,}$`)
)

// isSecret reports whether the value at a path of [nats] must not be shown: by its key, or because it is a seed or a
// URL with a password.
func isSecret(at path, v string) bool {
	if slices.Contains(secretKeys, at.last()) && !(at.last() == "key" && (len(at) < 2 || at[len(at)-2] != "jetstream")) {
		return true
	}
	if isReference(v) || strings.HasPrefix(v, "S") && nkeySeed().MatchString(v) {
		return true
	}
	u, err := url.Parse(v)
	if err != nil || u.User == nil {
		return false
	}
	_, has := u.User.Password()
	return has
}

func isReference(v string) bool {
	return strings.HasPrefix(v, "env:") || strings.HasPrefix(v, "file:") && !strings.HasPrefix(v, "file://")
}

// secret is the value that nats-server gets for a secret. In the declaration stands a reference to it or, for a
// password, its bcrypt hash: a plain one would end in a repository, a backup, or the output of config.
func (t *natsText) secret(at path, v string) string {
	switch {
	case bcrypted().MatchString(v):
		return v
	case !isReference(v):
		t.problems.add(at, "is a secret in plain text; write \"env:NAME\" or \"file:PATH\"%s", orBcrypt(at))
		return ""
	case t.resolve == nil:
		return stand(at)
	}
	s, err := t.resolve(v)
	if err != nil {
		t.problems.add(at, "%v", err)
		return ""
	}
	t.secrets = append(t.secrets, s)
	if u, err := url.Parse(s); err == nil {
		if password, ok := u.User.Password(); ok {
			t.secrets = append(t.secrets, password)
		}
	}
	return s
}

func orBcrypt(at path) string {
	if k := at.last(); k == "password" || k == "pass" || k == "token" || at[0] == "services" {
		return ", or its bcrypt hash"
	}
	return ""
}

// stand is a stand-in for a secret that is not looked up yet, of a form that nats-server takes.
func stand(at path) string {
	switch k := at.last(); {
	case slices.Contains(secretKeys, k):
		return "0123456789abcdef0123456789abcdef"
	default: // a whole URL
		return "nats://127.0.0.1:4222"
	}
}

// resolveSecret follows a reference; its errors name the reference, never the secret.
func resolveSecret(ref string) (string, error) {
	kind, name, _ := strings.Cut(ref, ":")
	var s string
	if kind == "env" {
		v, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("environment variable %s is not set", name)
		}
		s = v
	} else {
		b, err := os.ReadFile(name)
		if err != nil {
			var pe *fs.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			return "", fmt.Errorf("file %s cannot be read: %w", name, err)
		}
		s = strings.TrimRight(string(b), "\r\n")
	}
	if s == "" {
		return "", fmt.Errorf("%s is empty", ref)
	}
	return s, nil
}

// Redact replaces every secret in s. Secrets shorter than four characters would also hit innocent text and are left.
func Redact(s string, secrets []string) string {
	longest := slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) })
	for _, secret := range longest { // one may be part of another
		if len(secret) >= 4 {
			s = strings.ReplaceAll(s, secret, "[secret]")
		}
	}
	return s
}
