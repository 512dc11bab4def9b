package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"time"
)

// A fuzzer is one client that misbehaves, after another.
type fuzzer struct {
	*scene
	*rand.Rand
	n int
}

// dial comes in by TLS where the bus has it, or mostly: a port of TLS is spoken to in plain as well, and the other way round.
func (f *fuzzer) dial(ctx context.Context, address string, first bool) net.Conn {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if (f.roots != nil) == (f.IntN(10) == 0) {
		return c
	}
	if first { // nats-server says INFO in plain before
		_, _ = c.Read(make([]byte, 4096))
	}
	t := tls.Client(c, &tls.Config{RootCAs: f.roots, ServerName: "127.0.0.1", InsecureSkipVerify: f.roots == nil})
	if err := t.HandshakeContext(ctx); err != nil && f.roots != nil {
		_ = c.Close()
		return nil
	}
	return t
}

// wire is one connection of NATS.
func (f *fuzzer) wire(ctx context.Context) {
	c := f.dial(ctx, f.bus.Client, true)
	if c == nil {
		return
	}
	defer c.Close()
	text := f.session()
	f.trails[f.n].add(text)
	f.wires.Add(1)
	f.talk(c, text)
}

// talk sends it in one of several ways, and mostly reads what comes.
func (f *fuzzer) talk(c net.Conn, text []byte) {
	if f.IntN(8) > 0 { // else it never reads
		go func() { _, _ = io.Copy(io.Discard, c) }()
	}
	how := f.IntN(6)
	if how == 0 { // breaks off in the middle
		text = text[:f.IntN(len(text)+1)]
	}
	for len(text) > 0 {
		n := len(text)
		if how == 1 { // in pieces
			n = 1 + f.IntN(min(n, 200))
			time.Sleep(time.Duration(f.IntN(3)) * time.Millisecond)
		}
		sent, err := c.Write(text[:n])
		f.sent.Add(int64(sent))
		if err != nil {
			return
		}
		text = text[n:]
	}
	if f.IntN(4) == 0 { // stays for a moment
		time.Sleep(time.Duration(f.IntN(300)) * time.Millisecond)
	}
	if tcp, ok := c.(*net.TCPConn); ok && f.IntN(4) == 0 {
		_ = tcp.SetLinger(0)
	}
}

// session is what a client says from its log-in on, changed here and there.
func (f *fuzzer) session() []byte {
	var out []byte
	if f.IntN(10) > 0 {
		connect := map[string]any{"verbose": f.IntN(2) == 0, "pedantic": f.IntN(2) == 0, "name": "fuzz", "lang": "go", "version": "1.55.0", "protocol": 1,
			"echo": true, "headers": true, "no_responders": true}
		if f.kind == "services" && f.IntN(5) > 0 {
			connect["user"], connect["pass"] = "engine", "engine-password"
		}
		text, _ := json.Marshal(connect)
		if f.IntN(6) == 0 {
			text = f.changeJSON(text)
		}
		out = append(out, "CONNECT "+string(text)+"\r\nPING\r\n"...)
	}
	for range 1 + f.IntN(40) {
		op := f.op()
		if f.IntN(30) == 0 { // a flood
			op = bytes.Repeat(op, 1+f.IntN(max(1, min(1000, 4<<20/max(1, len(op))))))
		}
		out = append(out, op...)
	}
	if f.IntN(3) == 0 {
		out = f.changeBytes(out)
	}
	return out
}

var (
	plainOps = []string{"PING\r\n", "PONG\r\n", "SUB _INBOX.fuzz.* 1\r\n", "SUB > 2\r\n", "SUB fuzz.* group 3\r\n", "SUB $JS.> 4\r\n", "SUB $SYS.> 5\r\n",
		"UNSUB 1\r\n", "UNSUB 2 5\r\n", "UNSUB 99999\r\n", "MSG fuzz.a 1 5\r\nhello\r\n", "HMSG fuzz.a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n", "+OK\r\n",
		"-ERR 'no'\r\n", "INFO {\"server_id\":\"x\"}\r\n", "RS+ $G fuzz.a\r\n", "RMSG $G fuzz.a 5\r\nhello\r\n", "LS+ fuzz.a\r\n", "LMSG fuzz.a 5\r\nhello\r\n",
		"A+ $G\r\n", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "\r\n", "PUB\r\n", "HPUB a 5 3\r\nabc\r\n"}
	subjects = []string{"fuzz.a", "fuzz.b.c", "events.notifications.email.sent", "events.notifications", "_INBOX.fuzz.1", "", ".", "fuzz..a", "fuzz.*", ">",
		"$JS.ACK.FUZZ.C.1.1.1.1700000000000000000.0", "$JS.ACK.NOTIFICATIONS.notification-engine-consumer.1.1.1.1700000000000000000.0", "$JS.FC.FUZZ.C.x",
		"$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING", "$KV.fuzz.key", "$O.fuzz.C.x", "_R_.x", "_GR_.x.y", "$GR.x", "$SYS._INBOX.x"}
	payloads = []string{"", "hello", "+ACK", "-NAK", "-NAK {\"delay\": 1000000}", "+TERM why", "+WPI", "+NXT {\"batch\":5,\"no_wait\":true}", "{}", "[]", "null"}
	headers  = []string{"Nats-Msg-Id: x", "Nats-Expected-Stream: FUZZ", "Nats-Expected-Last-Sequence: 1", "Nats-Expected-Last-Subject-Sequence: 0",
		"Nats-Expected-Last-Msg-Id: y", "Nats-TTL: 1s", "Nats-TTL: never", "Nats-Rollup: sub", "Nats-Rollup: all", "Nats-Incr: +1", "Nats-Batch-Id: b",
		"Nats-Batch-Sequence: 1", "Nats-Batch-Sequence: 2", "Nats-Batch-Commit: 1", "Nats-Schedule: @every 1s", "Nats-Schedule-Target: fuzz.b", "Nats-Trace-Dest: fuzz.a",
		"Accept-Encoding: snappy", "traceparent: 00-0-0-01", "Status: 503", "Nats-Pin-Id: x", "no colon", ": no name", "a: "}
	requests = map[string]string{
		"INFO": "", "STREAM.CREATE.FUZZ": `{"name":"FUZZ","subjects":["fuzz.>"],"storage":"file","max_bytes":8388608,"max_age":60000000000,"num_replicas":1,"retention":"limits","discard":"old","allow_direct":true,"allow_atomic":true,"allow_msg_ttl":true,"allow_rollup_hdrs":true,"allow_msg_counter":false,"allow_msg_schedules":true,"subject_transform":{"src":"fuzz.t.*","dest":"fuzz.u.{{wildcard(1)}}"},"republish":{"src":"fuzz.r","dest":"other.r"},"metadata":{"a":"b"}}`,
		"STREAM.CREATE.FUZZWORK": `{"name":"FUZZWORK","subjects":["fuzzwork"],"retention":"workqueue","storage":"memory","max_bytes":1048576,"sources":[{"name":"FUZZ","filter_subject":"fuzz.a"}]}`,
		"STREAM.UPDATE.FUZZ":     `{"name":"FUZZ","subjects":["fuzz.>"],"storage":"file","max_bytes":8388608,"max_msgs":100,"max_msgs_per_subject":3}`,
		"STREAM.INFO.FUZZ":       `{"deleted_details":true,"subjects_filter":">"}`, "STREAM.LIST": `{"offset":0,"subject":"fuzz.>"}`, "STREAM.NAMES": `{"offset":0}`,
		"STREAM.PURGE.FUZZ": `{"filter":"fuzz.a","seq":3,"keep":0}`, "STREAM.DELETE.FUZZ": "", "STREAM.MSG.GET.FUZZ": `{"seq":1,"next_by_subj":"fuzz.>"}`, "STREAM.MSG.DELETE.FUZZ": `{"seq":1,"no_erase":true}`,
		"STREAM.SNAPSHOT.FUZZ":    `{"deliver_subject":"_INBOX.fuzz.s","no_consumers":false,"chunk_size":1024,"jsck":true}`,
		"STREAM.RESTORE.FUZZ":     `{"config":{"name":"FUZZ","subjects":["fuzz.>"],"storage":"file"},"state":{"messages":1,"bytes":10,"first_seq":1,"last_seq":1}}`,
		"STREAM.PEER.REMOVE.FUZZ": `{"peer":"x"}`, "STREAM.LEADER.STEPDOWN.FUZZ": "", "META.LEADER.STEPDOWN": `{}`, "SERVER.REMOVE": `{"peer":"x"}`,
		"DIRECT.GET.FUZZ": `{"seq":1,"batch":10,"max_bytes":1000}`, "DIRECT.GET.FUZZ.fuzz.a": "",
		"CONSUMER.CREATE.FUZZ.C.fuzz.a":                                `{"stream_name":"FUZZ","config":{"name":"C","durable_name":"C","filter_subject":"fuzz.a","ack_policy":"explicit","ack_wait":30000000,"max_deliver":3,"max_ack_pending":10,"backoff":[1000000,2000000],"deliver_policy":"all","replay_policy":"instant"},"action":""}`,
		"CONSUMER.CREATE.FUZZ":                                         `{"stream_name":"FUZZ","config":{"deliver_subject":"_INBOX.fuzz.d","ack_policy":"none","deliver_policy":"by_start_sequence","opt_start_seq":1,"flow_control":true,"idle_heartbeat":100000000,"inactive_threshold":1000000000,"headers_only":true,"rate_limit_bps":1000}}`,
		"CONSUMER.CREATE.FUZZ.P":                                       `{"stream_name":"FUZZ","config":{"name":"P","ack_policy":"explicit","priority_policy":"pinned_client","priority_groups":["g"],"priority_timeout":1000000000,"sample_freq":"100%"}}`,
		"CONSUMER.DURABLE.CREATE.FUZZ.D":                               `{"stream_name":"FUZZ","config":{"durable_name":"D","ack_policy":"all","deliver_policy":"last_per_subject","filter_subjects":["fuzz.a","fuzz.b.>"]}}`,
		"CONSUMER.MSG.NEXT.FUZZ.C":                                     `{"batch":5,"expires":100000000,"no_wait":false,"max_bytes":1000,"idle_heartbeat":10000000}`,
		"CONSUMER.MSG.NEXT.FUZZ.P":                                     `{"batch":1,"expires":100000000,"group":"g","min_pending":1,"id":"x","priority":3}`,
		"CONSUMER.MSG.NEXT.NOTIFICATIONS.notification-engine-consumer": `{"batch":5,"no_wait":true}`, "CONSUMER.INFO.NOTIFICATIONS.notification-engine-consumer": "",
		"CONSUMER.INFO.FUZZ.C": "", "CONSUMER.LIST.FUZZ": `{"offset":0}`, "CONSUMER.NAMES.FUZZ": `{"offset":0}`, "CONSUMER.DELETE.FUZZ.C": "", "CONSUMER.PAUSE.FUZZ.C": `{"pause_until":"2030-01-01T00:00:00Z"}`,
		"CONSUMER.UNPIN.FUZZ.P": `{"group":"g"}`, "CONSUMER.RESET.FUZZ.C": `{"seq":1}`, "CONSUMER.LEADER.STEPDOWN.FUZZ.C": "",
	}
	requestNames = func() (names []string) {
		for name := range requests {
			names = append(names, name)
		}
		slices.Sort(names) // so that a seed means the same
		return names
	}()
)

func pick[T any](f *fuzzer, of []T) T { return of[f.IntN(len(of))] }

// op is one operation, right or nearly so.
func (f *fuzzer) op() []byte {
	var subject, head string
	var payload []byte
	switch f.IntN(10) {
	case 0, 1:
		op := []byte(pick(f, plainOps))
		if f.IntN(3) == 0 {
			op = f.changeBytes(op)
		}
		return op
	case 2, 3, 4, 5:
		name := pick(f, requestNames)
		subject, payload = "$JS.API."+name, []byte(requests[name])
		if len(payload) > 0 && f.IntN(2) == 0 {
			payload = f.changeJSON(payload)
		}
	default:
		subject, payload = pick(f, subjects), []byte(pick(f, payloads))
		if f.IntN(20) == 0 {
			payload = make([]byte, f.IntN(9<<20)) // more than max_payload too
		}
	}
	if f.IntN(10) == 0 {
		subject = string(f.changeBytes([]byte(subject)))
	}
	if f.IntN(3) == 0 {
		head = "NATS/1.0\r\n"
		for range f.IntN(5) {
			head += pick(f, headers) + "\r\n"
		}
		head += "\r\n"
		if f.IntN(4) == 0 {
			head = string(f.changeBytes([]byte(head)))
		}
	}
	reply := pick(f, []string{"", " _INBOX.fuzz.1", " _INBOX.fuzz.2", " fuzz.a", " $JS.ACK.x", " >"})
	size, whole := fmt.Sprint(len(head)), fmt.Sprint(len(head)+len(payload))
	if f.IntN(25) == 0 {
		size = pick(f, sizes)
	}
	if f.IntN(25) == 0 {
		whole = pick(f, sizes)
	}
	if head != "" {
		return fmt.Appendf(nil, "HPUB %s%s %s %s\r\n%s%s\r\n", subject, reply, size, whole, head, payload)
	}
	return fmt.Appendf(nil, "PUB %s%s %s\r\n%s\r\n", subject, reply, whole, payload)
}

var sizes = []string{"-1", "0", "1", "2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "99999999999999999999", "x", "", "0x10", "1e3", "00000000000000005"}
