package server

import (
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// A Volume is the file system that a store is on, and what an fsync on it is worth.
type Volume struct {
	Kind string `json:"kind"` // such as ext4; empty where the system does not say
	// Doubt is why an acknowledged message may not survive a power cut, although it was synced; empty where it does.
	Doubt string `json:"doubt,omitempty"`
	// WayOut is what can be done about it.
	WayOut string `json:"way_out,omitempty"`
}

// VolumeOf looks where the folder is, or will be.
func VolumeOf(dir string) Volume {
	for d := dir; ; d = filepath.Dir(d) {
		if real, err := filepath.EvalSymlinks(d); err == nil {
			dir = real
			break
		}
		if d == filepath.Dir(d) {
			return Volume{}
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(dir))
	if err != nil || len(mounts) == 0 {
		return Volume{}
	}
	at := mounts[0]
	for _, m := range mounts {
		if len(m.Mountpoint) >= len(at.Mountpoint) { // the later one lies over the earlier
			at = m
		}
	}
	return judgeVolume(at.FSType, at.VFSOptions)
}

// judgeVolume knows which file systems keep the entry of a new file together with its fsync, as nats-server needs it.
func judgeVolume(kind, options string) Volume {
	v := Volume{Kind: kind}
	const move = "put the store on a local ext4, xfs, btrfs or zfs"
	switch base, _, _ := strings.Cut(kind, "."); base {
	case "ext4", "ext3", "xfs", "btrfs", "zfs", "f2fs", "apfs", "ntfs":
		for _, o := range strings.Split(options, ",") {
			if o == "nobarrier" || o == "barrier=0" {
				v.Doubt, v.WayOut = "mounted with "+o+": the disk may hold back what it was told to write", "mount it without "+o
			}
		}
	case "tmpfs", "ramfs":
		v.Doubt, v.WayOut = "is memory: a power cut, and unmounting it, takes everything", move
	case "ext2", "vfat", "exfat", "msdos":
		v.Doubt, v.WayOut = "has no journal: a power cut may take files with all that they hold", move
	case "overlay", "aufs":
		v.Doubt, v.WayOut = "is a container's own layer: it goes with the container", "mount a volume for the store"
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "fuse", "fuseblk", "ceph", "glusterfs", "afs":
		v.Doubt, v.WayOut = "is somebody else's: whether an fsync reaches a disk, and a lock other machines, is up to that", move
	case "":
	default:
		v.Doubt, v.WayOut = "is not known to keep a new file's name with its fsync", move
	}
	return v
}
