package ledger

import (
	"fmt"
	"slices"
	"time"
)

// Compare finds what the page promises and the store does not hold. now is the time until which messages may have
// expired. It is pure. Loss holds the bus where what the page says was on the disk; where it was not, because of
// sync_interval, some loss is what was asked for, and it is reported.
//
// What is gone because somebody asked for it, or because the stream's own rules took it, is no finding.
func Compare(page Page, there []Stream, now time.Time) []Finding {
	var out []Finding
	for _, was := range page.Streams {
		if was.Going {
			continue
		}
		i := slices.IndexFunc(there, func(s Stream) bool { return s.Name == was.Name })
		if i < 0 {
			out = append(out, was.gone("is not there any more"))
			continue
		}
		is := there[i]
		if is.Created.After(was.Created) {
			continue // made anew while the bus ran: that can only be after somebody had deleted it
		}
		if is.Created.Before(was.Created) {
			out = append(out, was.gone(fmt.Sprintf("made at %s is not there any more, but one made at %s", stamp(was.Created), stamp(is.Created))))
			continue
		}
		out = append(out, was.less(is, now)...)
	}
	for i := range out {
		out[i].Holds, out[i].Found = page.Durable, now
	}
	return out
}

func (s Stream) gone(how string) Finding {
	f := Finding{Kind: Gone, Stream: s.Name, Lost: s.Messages(), What: "the stream " + how}
	if f.Lost > 0 {
		f.From, f.To = s.First, s.Last
		f.What += fmt.Sprintf(", with %s", span(f.From, f.To))
	}
	return f
}

// less compares a stream with itself.
func (s Stream) less(is Stream, now time.Time) (out []Finding) {
	if is.Last < s.Last {
		from := max(is.Last+1, s.First)
		f := Finding{Kind: Tail, Stream: s.Name, From: from, To: s.Last, Lost: min(s.Last-from+1, s.Messages())}
		f.What = fmt.Sprintf("%s are gone: the stream ended with %d, and ends with %d now", span(f.From, f.To), s.Last, is.Last)
		out = append(out, f)
	}
	if s.Loose || is.Loose || s.Removing {
		return out
	}
	if is.First > s.First && is.Last >= s.Last {
		if from := s.tooYoung(is, now); from > 0 {
			f := Finding{Kind: Front, Stream: s.Name, From: from, To: is.First - 1, Lost: is.First - from}
			f.What = fmt.Sprintf("%s are gone: the stream began with %d, and begins with %d now, which max_age does not explain", span(f.From, f.To), s.First, is.First)
			out = append(out, f)
		}
	}
	if is.Deleted > s.Deleted+s.mayHaveExpired(is, now) && is.Last >= s.Last {
		f := Finding{Kind: Middle, Stream: s.Name, From: is.First, To: is.Last, Lost: is.Deleted - s.Deleted}
		f.What = fmt.Sprintf("%d of the %s are gone, and nobody deleted them", f.Lost, span(f.From, f.To))
		out = append(out, f)
	}
	return out
}

// expired reports whether a message may have reached max_age, as far as is known.
func (s Stream) expired(seq uint64, is Stream, now time.Time) bool {
	age := s.MaxAge
	if is.MaxAge > 0 && is.MaxAge < age {
		age = is.MaxAge
	}
	return age > 0 && !s.notBefore(seq).After(now.Add(-age))
}

// tooYoung is the first of the messages gone from the front that had not reached max_age, as far as is known; 0 if they
// all had.
func (s Stream) tooYoung(is Stream, now time.Time) uint64 {
	last := min(is.First-1, s.Last)
	if last < s.First || s.expired(last, is, now) {
		return 0
	}
	return s.firstYoung(last, is, now)
}

// firstYoung is the first sequence, up to last, that is known not to have reached max_age; last+1 if there is none.
func (s Stream) firstYoung(last uint64, is Stream, now time.Time) uint64 {
	known := []uint64{s.First}
	for _, m := range s.Marks {
		known = append(known, m.Seq)
	}
	for _, seq := range append(known, last) {
		if seq <= last && !s.expired(seq, is, now) {
			return seq
		}
	}
	return last + 1
}

// mayHaveExpired is how many messages that still count may have been removed at the front: killed while it expires them,
// nats-server finds them deleted and goes on beginning with the first.
func (s Stream) mayHaveExpired(is Stream, now time.Time) uint64 {
	if s.MaxAge <= 0 {
		return 0
	}
	young := s.firstYoung(s.Last, is, now)
	if young > s.Last {
		young = is.Last + 1 // what came later is not known
	}
	return max(young, is.First) - is.First
}

// Jumps are how far the clock may be off before it is not believed.
type Jumps struct {
	Back    time.Duration // behind the newest time that is known
	Ahead   time.Duration // since the last page, if a stream would be emptied by it
	Trusted bool          // somebody keeps the clock right: the machine says that it is synchronised
}

// Judge finds out whether the clock can be right. It is pure, and it is asked before the store is opened: what expires
// at that moment is gone.
func Judge(page Page, now time.Time, j Jumps) []Finding {
	newest := page.Newest()
	f := Finding{Kind: Clock, Holds: true, Found: now}
	if back := newest.Sub(now); j.Back > 0 && back > j.Back {
		f.What = fmt.Sprintf("the clock says %s, which is %s before the newest time in the ledger, %s", stamp(now), back.Round(time.Second), stamp(newest))
		return []Finding{f}
	}
	ahead := now.Sub(page.Written)
	if j.Ahead <= 0 || j.Trusted || ahead <= j.Ahead {
		return nil
	}
	var out []Finding
	for _, s := range page.Streams {
		emptied := s.MaxAge > 0 && s.Messages() > 0 && !s.LastTime.After(now.Add(-s.MaxAge)) && s.LastTime.After(page.Written.Add(-s.MaxAge))
		if !emptied || s.Going {
			continue
		}
		f.Stream, f.From, f.To, f.Lost = s.Name, s.First, s.Last, s.Messages()
		f.What = fmt.Sprintf("the clock says %s, %s after the ledger was last written, and nobody keeps it right: all of %s would expire now (max_age)", stamp(now), ahead.Round(time.Second), span(s.First, s.Last))
		out = append(out, f)
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
