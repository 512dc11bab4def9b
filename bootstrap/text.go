package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deltran/deltran-bus/config"
)

// WriteText writes the plan for people: every change with its fields, what is there and not declared, and a summary.
func (p Plan) WriteText(w io.Writer) error {
	var b bytes.Buffer
	p.writeChanges(&b)
	for _, r := range p.Undeclared {
		fmt.Fprintf(&b, "%s: not declared, left alone\n", r)
	}
	fmt.Fprintln(&b, p.Summary())
	_, err := w.Write(b.Bytes())
	return err
}

// WriteChanges writes the changes alone: what was made, in the words in which it was planned.
func (p Plan) WriteChanges(w io.Writer) error {
	var b bytes.Buffer
	p.writeChanges(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (p Plan) writeChanges(b *bytes.Buffer) {
	for _, c := range p.Changes {
		fmt.Fprintf(b, "%s: %s", c.Ref, c.Action)
		if len(c.Subjects) > 0 {
			fmt.Fprintf(b, "  %s", strings.Join(c.Subjects, " "))
		}
		if c.Why != "" {
			fmt.Fprintf(b, "  %s: %s", c.Class, c.Why)
		}
		b.WriteByte('\n')
		t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		for _, f := range c.Fields {
			fmt.Fprintf(t, "    %s\t%s → %s\t%s\n", f.Name, value(f.Name, f.Have), value(f.Name, f.Want), f.consequence())
		}
		_ = t.Flush() // into memory
	}
}

// Summary is one line, such as "2 to create, 1 to update, of which loses 1 and conflict 1; 3 not declared".
func (p Plan) Summary() string {
	var creates, updates int
	fields := map[Class]int{}
	for _, c := range p.Changes {
		if c.Action == Create {
			creates++
			if c.Class == Conflict {
				fields[Conflict]++
			}
		} else {
			updates++
		}
		for _, f := range c.Fields {
			fields[f.Class]++
		}
	}
	s := "no difference"
	if !p.Empty() {
		s = fmt.Sprintf("%d to create, %d to update", creates, updates)
	}
	sep := ", of which "
	for _, c := range slices.Backward(gravity) {
		if n := fields[c]; n > 0 && c != Safe {
			s += fmt.Sprintf("%s%s %d", sep, c, n)
			sep = ", "
		}
	}
	if n := len(p.Undeclared); n > 0 {
		s += fmt.Sprintf("; %d not declared", n)
	}
	return s
}

// String is one line: "max_age 7d → 1d  loses 1,204 messages, the oldest 6d3h old: older messages are deleted".
func (f Field) String() string {
	return fmt.Sprintf("%s %s → %s  %s", f.Name, value(f.Name, f.Have), value(f.Name, f.Want), f.consequence())
}

// consequence is what is said of a field after its values: "loses 1,204 messages, the oldest 6d3h old: older messages are
// deleted".
func (f Field) consequence() string {
	s := string(f.Class)
	if f.Cost != nil {
		s += " " + f.Cost.String()
	}
	if f.Why != "" {
		s += ": " + f.Why
	}
	return s
}

// String is "1,204 messages, the oldest 6d3h old".
func (c Cost) String() string {
	s := thousands(c.Messages) + " messages"
	switch c.Messages {
	case 0:
		return "nothing now"
	case 1:
		s = "1 message"
	}
	if c.Estimate {
		s = "about " + s
	}
	if c.Age > 0 {
		s += ", the oldest " + roughly(c.Age) + " old"
	}
	return s
}

func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// roughly is an age in its two greatest units.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		h := d % day / time.Hour
		if h == 0 {
			return fmt.Sprintf("%dd", d/day)
		}
		return fmt.Sprintf("%dd%dh", d/day, h)
	case d >= time.Hour:
		return config.FormatDuration(d.Truncate(time.Minute))
	case d >= time.Second:
		return config.FormatDuration(d.Truncate(time.Second))
	}
	return d.Truncate(time.Millisecond).String()
}

var (
	durations = []string{"max_age", "duplicate_window", "subject_delete_marker_ttl", "ack_wait", "max_expires", "idle_heartbeat", "inactive_threshold", "priority_timeout", "backoff"}
	sizes     = []string{"max_bytes", "max_msg_size"}
)

// value is a value of a field as it would be written in deltran.toml; "-" when it is not set.
func value(field string, v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case json.Number:
		n, err := v.Int64()
		switch {
		case err != nil:
			return v.String()
		case n == -1, n == 0 && field == "max_age":
			return "unlimited"
		case slices.Contains(durations, field):
			return config.FormatDuration(time.Duration(n))
		case slices.Contains(sizes, field):
			return config.FormatSize(n)
		}
		return v.String()
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = value(field, v[i])
		}
		return "[" + strings.Join(parts, " ") + "]"
	case map[string]any:
		var parts []string
		for k := range v {
			parts = append(parts, k+"="+value(k, v[k]))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, " ") + "}"
	}
	return fmt.Sprint(v)
}
