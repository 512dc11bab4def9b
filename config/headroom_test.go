package config_test

import (
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/config"
)

func TestHeadroom(t *testing.T) {
	t.Parallel()
	const kb, mb, gb = 1 << 10, 1 << 20, 1 << 30
	for _, tc := range []struct {
		keep                  config.Headroom
		volume, message, want uint64
	}{
		{"auto", 20 * mb, 64 * kb, 5 * mb}, // a quarter
		{"auto", 20 * mb, 8 * mb, 9 * mb},  // but one message has to fit
		{"auto", 100 * mb, 8 * mb, 25 * mb},
		{"auto", 256 * mb, 8 * mb, 64 * mb},
		{"auto", 1 * gb, 8 * mb, 64 * mb},
		{"auto", 10 * gb, 8 * mb, 512 * mb}, // a twentieth
		{"auto", 20 * gb, 8 * mb, 1 * gb},
		{"auto", 100_000 * gb, 8 * mb, 1 * gb},
		{"auto", 0, 0, 1 * mb},
		{"0", 10 * gb, 8 * mb, 0},
		{"2GB", 10 * gb, 8 * mb, 2 * gb},
		{"12.5%", 8 * gb, 8 * mb, 1 * gb},
	} {
		if got := tc.keep.Of(tc.volume, tc.message); got != tc.want {
			t.Errorf("%s of %d with messages of %d: %d, want %d", tc.keep, tc.volume, tc.message, got, tc.want)
		}
	}
	for _, text := range []string{"auto", "0", "64MB", "1GB", "5%", "0.5%"} {
		c, err := config.Parse("site.toml", "[bus]\nmin_free = \""+text+"\"\n")
		if err != nil || c.Bus.MinFree != config.Headroom(text) {
			t.Errorf("%s: %v, %v", text, c, err)
		}
	}
	for _, text := range []string{`"much"`, `"-1"`, `"100%"`, `"-5%"`, `"NaN%"`, `""`, `true`, `"5 %%"`, `[1]`} {
		_, err := config.Parse("site.toml", "[bus]\nmin_free = "+text+"\n")
		if err == nil || !strings.HasPrefix(err.Error(), "site.toml:2:") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
