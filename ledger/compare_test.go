package ledger_test

import (
	"testing"
	"time"

	"github.com/deltran/deltran-bus/ledger"
	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// plain is a stream of 100 messages, one a minute, the newest now.
func plain(change ...func(*ledger.Stream)) ledger.Stream {
	s := ledger.Stream{Name: "S", Created: ago(24 * time.Hour), First: 1, Last: 100, FirstTime: ago(99 * time.Minute), LastTime: now}
	for _, c := range change {
		c(&s)
	}
	return s
}

type finding struct {
	Kind           ledger.Kind
	From, To, Lost uint64
}

func found(fs []ledger.Finding) (out []finding) {
	for _, f := range fs {
		out = append(out, finding{f.Kind, f.From, f.To, f.Lost})
	}
	return out
}

func TestCompare(t *testing.T) {
	t.Parallel()
	type change = func(*ledger.Stream)
	age := func(d time.Duration) change { return func(s *ledger.Stream) { s.MaxAge = d } }
	first := func(n uint64, at time.Duration) change {
		return func(s *ledger.Stream) { s.First, s.FirstTime = n, ago(at) }
	}
	last := func(n uint64) change { return func(s *ledger.Stream) { s.Last = n } }
	deleted := func(n uint64) change { return func(s *ledger.Stream) { s.Deleted = n } }
	loose := func(s *ledger.Stream) { s.Loose = true }
	removing := func(s *ledger.Stream) { s.Removing = true }
	going := func(s *ledger.Stream) { s.Going = true }
	mark := func(seq uint64, at time.Duration) change {
		return func(s *ledger.Stream) { s.Marks = append(s.Marks, ledger.Mark{Seq: seq, Time: ago(at)}) }
	}
	empty := func(s *ledger.Stream) { s.First, s.FirstTime, s.LastTime = s.Last+1, time.Time{}, time.Time{} }
	gone := func(s *ledger.Stream) { s.Name = "" }
	anew := func(s *ledger.Stream) { s.Created = now; s.First, s.Last = 1, 0 }
	older := func(s *ledger.Stream) { s.Created = s.Created.Add(-time.Hour) }
	for _, c := range []struct {
		name string
		was  []change
		is   []change
		want []finding
	}{
		{"the same", nil, nil, nil},
		{"more", nil, []change{last(120)}, nil},
		{"gone", nil, []change{gone}, []finding{{ledger.Gone, 1, 100, 100}}},
		{"gone, as somebody asked", []change{going}, []change{gone}, nil},
		{"an empty one gone", []change{last(0)}, []change{gone}, []finding{{ledger.Gone, 0, 0, 0}}},
		{"made anew, which takes somebody who has deleted it", nil, []change{anew}, nil},
		{"an older one in its place", nil, []change{older}, []finding{{ledger.Gone, 1, 100, 100}}},
		{"deleted and made anew, as somebody asked", []change{going}, []change{anew}, nil},
		{"the tail lost", nil, []change{last(90)}, []finding{{ledger.Tail, 91, 100, 10}}},
		{"the tail lost of a work queue", []change{loose}, []change{loose, last(90)}, []finding{{ledger.Tail, 91, 100, 10}}},
		{"the tail lost, while somebody purged", []change{removing}, []change{last(90)}, []finding{{ledger.Tail, 91, 100, 10}}},
		{"the front lost, no age", nil, []change{first(11, 89*time.Minute)}, []finding{{ledger.Front, 1, 10, 10}}},
		{"the front lost, too young", []change{age(24 * time.Hour)}, []change{age(24 * time.Hour), first(11, 89*time.Minute)}, []finding{{ledger.Front, 1, 10, 10}}},
		{"expired", []change{age(90 * time.Minute)}, []change{age(90 * time.Minute), first(11, 89*time.Minute)}, nil},
		{"all expired", []change{age(time.Hour), func(s *ledger.Stream) { s.FirstTime, s.LastTime = ago(3*time.Hour), ago(2*time.Hour) }}, []change{age(time.Hour), empty}, nil},
		{"all gone, the newest too young", []change{age(time.Hour), mark(50, 50*time.Minute)}, []change{age(time.Hour), empty}, []finding{{ledger.Front, 50, 100, 51}}},
		{"expired up to a mark", []change{age(time.Hour), mark(50, 50*time.Minute)}, []change{age(time.Hour), first(50, 50*time.Minute)}, nil},
		{"a mark too young gone", []change{age(time.Hour), mark(50, 50*time.Minute)}, []change{age(time.Hour), first(60, 40*time.Minute)}, []finding{{ledger.Front, 50, 59, 10}}},
		{"purged, as somebody asked", []change{removing}, []change{first(101, 0)}, nil},
		{"the front of a stream with limits", []change{loose}, []change{loose, first(50, 0)}, nil},
		{"the middle lost", nil, []change{deleted(7)}, []finding{{ledger.Middle, 1, 100, 7}}},
		{"the middle lost, nothing can have expired", []change{age(24 * time.Hour)}, []change{age(24 * time.Hour), deleted(1)}, []finding{{ledger.Middle, 1, 100, 1}}},
		{"killed while it expired the first, which still counts", []change{age(time.Hour)}, []change{age(time.Hour), deleted(3)}, nil},
		{"killed while it expired, and more is gone", []change{age(95 * time.Minute), mark(10, 89*time.Minute)}, []change{age(95 * time.Minute), deleted(10)}, []finding{{ledger.Middle, 1, 100, 10}}},
		{"deleted, as somebody asked", []change{removing}, []change{deleted(7)}, nil},
		{"deleted before", []change{deleted(7)}, []change{deleted(7)}, nil},
		{"the deleted ones expired", []change{deleted(7), age(time.Hour)}, []change{age(time.Hour), first(60, 40*time.Minute)}, nil},
		{"the age lowered meanwhile", []change{removing, age(24 * time.Hour)}, []change{age(time.Minute), first(100, 0)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			is := []ledger.Stream{plain(c.is...)}
			if is[0].Name == "" {
				is = nil
			}
			got := ledger.Compare(ledger.Page{Durable: true, Streams: []ledger.Stream{plain(c.was...)}}, is, now)
			if d := cmp.Diff(c.want, found(got)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			for _, f := range got {
				if !f.Holds || f.What == "" || f.Stream != "S" || !f.Found.Equal(now) {
					t.Errorf("%+v", f)
				}
			}
			for _, f := range ledger.Compare(ledger.Page{Streams: []ledger.Stream{plain(c.was...)}}, is, now) {
				if f.Holds {
					t.Errorf("not every message was on the disk, and it holds: %+v", f)
				}
			}
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	page := ledger.Page{Written: ago(0), Streams: []ledger.Stream{
		plain(func(s *ledger.Stream) { s.MaxAge = 24 * time.Hour }),
		plain(func(s *ledger.Stream) { s.Name, s.MaxAge = "LONG", 30*24*time.Hour }),
		plain(func(s *ledger.Stream) { s.Name = "EVER" }),
	}}
	jumps := ledger.Jumps{Back: time.Minute, Ahead: 24 * time.Hour}
	for _, c := range []struct {
		name    string
		at      time.Duration
		jumps   ledger.Jumps
		streams []string
	}{
		{"now", 0, jumps, nil},
		{"a little behind", -time.Minute, jumps, nil},
		{"behind", -61 * time.Second, jumps, []string{""}},
		{"behind, and nobody minds", -time.Hour, ledger.Jumps{}, nil},
		{"behind, synchronised", -time.Hour, ledger.Jumps{Back: time.Minute, Trusted: true}, []string{""}},
		{"a day", 24 * time.Hour, jumps, nil},
		{"two days", 48 * time.Hour, jumps, []string{"S"}},
		{"two days, synchronised", 48 * time.Hour, ledger.Jumps{Back: time.Minute, Ahead: 24 * time.Hour, Trusted: true}, nil},
		{"two days, and nobody minds", 48 * time.Hour, ledger.Jumps{Back: time.Minute}, nil},
		{"two months", 60 * 24 * time.Hour, jumps, []string{"S", "LONG"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range ledger.Judge(page, now.Add(c.at), c.jumps) {
				if f.Kind != ledger.Clock || !f.Holds || f.What == "" {
					t.Errorf("%+v", f)
				}
				got = append(got, f.Stream)
			}
			if d := cmp.Diff(c.streams, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Marks stay few, cover the whole of max_age, and never say that a message is younger than it is.
func TestMarks(t *testing.T) {
	t.Parallel()
	s := ledger.Stream{Name: "S", MaxAge: time.Hour, First: 1, FirstTime: now}
	var marks []ledger.Mark
	for i := range uint64(5000) {
		at := now.Add(time.Duration(i) * time.Second)
		s.Last, s.LastTime = i+1, at
		if old := int64(i) - 3600; old > 0 { // expired
			s.First, s.FirstTime = uint64(old)+1, now.Add(time.Duration(old)*time.Second)
		}
		s.Mark(marks)
		marks = s.Marks
	}
	if n := len(marks); n < 25 || n > 40 {
		t.Errorf("%d marks", n)
	}
	for _, m := range marks {
		if want := now.Add(time.Duration(m.Seq-1) * time.Second); !m.Time.Equal(want) || m.Seq < s.First || m.Seq > s.Last {
			t.Errorf("mark %+v, came at %s", m, want)
		}
	}
}
