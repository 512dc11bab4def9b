package server

import (
	"path/filepath"
	"runtime"
	"testing"
)

func TestJudgeVolume(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, options string
		doubt         bool
	}{
		{"ext4", "rw,relatime", false},
		{"xfs", "rw", false},
		{"btrfs", "rw,space_cache=v2", false},
		{"ext4", "rw,nobarrier", true},
		{"ext4", "rw,barrier=0", true},
		{"ext4", "rw,barrier=1", false},
		{"ext2", "rw", true},
		{"tmpfs", "rw,size=1g", true},
		{"overlay", "rw", true},
		{"nfs4", "rw", true},
		{"fuse.sshfs", "rw", true},
		{"somethingfs", "rw", true},
		{"", "", false},
	} {
		if v := judgeVolume(c.kind, c.options); (v.Doubt != "") != c.doubt || (v.WayOut != "") != c.doubt {
			t.Errorf("%s %s: %+v", c.kind, c.options, v)
		}
	}
}

func TestVolumeOf(t *testing.T) {
	t.Parallel()
	here, below := VolumeOf(t.TempDir()), VolumeOf(filepath.Join(t.TempDir(), "not", "there", "yet"))
	if here != below {
		t.Errorf("%+v, and below it %+v", here, below)
	}
	if runtime.GOOS == "linux" && here.Kind == "" {
		t.Error("linux says what it is")
	}
}
