package server

import "testing"

// Every reload brings its secrets again: the list that each log line is searched for must not grow by that.
func TestReloadsDoNotPileUpSecrets(t *testing.T) {
	t.Parallel()
	var l logger
	for range 100 {
		l.hide([]string{"first-secret", "second-secret"})
	}
	if len(l.secrets) != 2 || l.redact("first-secret second-secret") != "[secret] [secret]" {
		t.Errorf("%q", l.secrets)
	}
	l.hide([]string{"third-secret"})
	if s := l.redact("first-secret third-secret"); s != "[secret] [secret]" {
		t.Error(s)
	}
}
