package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Headroom is how much of the store's volume has to stay free for publishing to go on: a size such as "2GB", a share of the
// volume such as "10%", "0" for nothing, or "auto".
type Headroom string

// AutoHeadroom is what "auto" means, see Of.
const AutoHeadroom Headroom = "auto"

// What "auto" keeps: a share of the volume, so that a large store has room to be repaired in, within bounds.
const (
	autoShare = 20       // one part in so many
	autoLeast = 64 << 20 // eight blocks of 8 MB: JetStream writes a block anew to make it smaller, each stream its own
	autoMost  = 1 << 30  // more than that is in nobody's way to being full
	autoSmall = 4        // but of a small volume never more than one part in so many: it has to remain of use
	autoSpare = 1 << 20  // and never less than one message of the largest size and this
)

// UnmarshalText accepts what is a headroom.
func (h *Headroom) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if _, _, err := Headroom(s).parse(); err != nil || s == "" {
		return fmt.Errorf("%q is not how much to keep free; write a size such as \"2GB\", a share such as \"10%%\", \"0\" or \"auto\"", s)
	}
	*h = Headroom(s)
	return nil
}

// Of is how many bytes of a volume of that size have to stay free, where a message has at most so many.
func (h Headroom) Of(volume, message uint64) uint64 {
	if h == AutoHeadroom {
		keep := min(max(volume/autoShare, autoLeast), autoMost, volume/autoSmall)
		return max(keep, message+autoSpare)
	}
	bytes, percent, err := h.parse()
	if err != nil {
		return 0 // nobody has checked it
	}
	return bytes + uint64(float64(volume)*percent/100)
}

func (h Headroom) parse() (bytes uint64, percent float64, err error) {
	switch share, isShare := strings.CutSuffix(string(h), "%"); {
	case h == AutoHeadroom || h == "":
		return 0, 0, nil
	case isShare:
		percent, err = strconv.ParseFloat(share, 64)
		if err == nil && !(percent >= 0 && percent < 100) {
			err = fmt.Errorf("%s is no share of a volume", h)
		}
		return 0, percent, err
	default:
		n, err := ParseSize(string(h))
		return uint64(max(n, 0)), 0, err
	}
}
