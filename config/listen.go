package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// listenProblems finds listeners that other machines reach although anyone may come in or listen in. [bus]
// allow_insecure takes them as they are. Of an address that nats-server did not understand enough is said already.
func (c *Config) listenProblems(o *natsserver.Options, said Problems) (ps Problems) {
	if c.Monitor.Listen != "" {
		at := path{"monitor", "listen"}
		host, port, err := net.SplitHostPort(c.Monitor.Listen)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
			ps.add(at, "%q is not an address; write HOST:PORT such as \"127.0.0.1:8222\", port 0 for any, \"\" for none", c.Monitor.Listen)
		} else if lacks, add := c.monitorLacks(); len(lacks) > 0 && !c.Bus.AllowInsecure && !c.Monitor.AllowInsecure && !Loopback(host) {
			ps.add(at, "%s can be reached from other machines without %s; add %s, listen on 127.0.0.1, or say [monitor] allow_insecure = true",
				c.Monitor.Listen, strings.Join(lacks, " and "), strings.Join(add, " and "))
		}
	}
	if at := strings.TrimSpace(c.Monitor.Listen); at != "" && at == c.NATS["listen"] && !strings.HasSuffix(at, ":0") {
		ps.add(path{"monitor", "listen"}, "%s is where clients connect; monitoring needs a port of its own", at)
	}
	if _, bare := c.NATS["listen"].(int64); bare {
		ps.add(path{"nats", "listen"}, "is a port alone, which would be open to every network; write \"127.0.0.1:%v\"", c.NATS["listen"])
		said = append(said, ps[len(ps)-1])
	}
	ps = append(ps, accountProblem(o, len(c.Services) > 0)...)
	if o.Port > 65535 || o.Port < natsserver.RANDOM_PORT {
		ps.add(path{"nats", "listen"}, "port %d does not exist; 0 picks a free one", o.Port)
	}
	if c.Bus.AllowInsecure {
		return ps
	}
	for _, l := range c.Listeners(o) {
		unclear := slices.ContainsFunc(said, func(p Problem) bool { return len(p.at) > 1 && p.at[1] == l.keys[0] })
		if Loopback(l.Host) || len(l.Lacks) == 0 || unclear {
			continue
		}
		ps.add(path{"nats"}.with(l.keys...), "%s can be reached from other machines without %s; add %s, listen on 127.0.0.1, or say [bus] allow_insecure = true",
			net.JoinHostPort(l.Host, strconv.Itoa(max(l.Port, 0))), strings.Join(l.Lacks, " and "), strings.Join(l.add, " and "))
	}
	return ps
}

// accountProblem finds declared accounts beside streams that nobody could reach: those are in $G, and it is services and
// [nats.authorization] that let clients in there.
func accountProblem(o *natsserver.Options, services bool) (ps Problems) {
	inside := func(a *natsserver.Account) bool { return a == nil || a.Name == natsserver.DEFAULT_GLOBAL_ACCOUNT }
	reach := o.Username != "" || o.Authorization != "" || o.AuthCallout != nil ||
		slices.ContainsFunc(o.Users, func(u *natsserver.User) bool { return inside(u.Account) }) ||
		slices.ContainsFunc(o.Nkeys, func(u *natsserver.NkeyUser) bool { return inside(u.Account) })
	if len(o.Users)+len(o.Nkeys) > 0 && !reach && !services {
		ps.add(path{"nats", "accounts"}, "leaves nobody who could reach the declared streams, which are in the account $G; declare the [[services]] that use them")
	}
	return ps
}

// A Listener is one of nats-server's.
type Listener struct {
	Name  string // client, cluster, gateway, leafnodes, websocket, mqtt
	Host  string
	Port  int      // -1 picks one
	Lacks []string // of "authentication" and "TLS"

	keys, add []string
}

// Listeners are the ports that the options open, and what protects each.
func (c *Config) Listeners(o *natsserver.Options) (ls []Listener) {
	clients := (len(o.Users)+len(o.Nkeys) > 0 || o.Username != "" || o.Authorization != "" || o.AuthCallout != nil) && o.NoAuthUser == ""
	add := func(name, host string, port int, auth, tls bool, keys ...string) {
		if port == 0 {
			return
		}
		if host == "" {
			host = "0.0.0.0"
		}
		l := Listener{Name: name, Host: host, Port: port, keys: keys}
		section := "[nats." + keys[0] + ".%s]"
		if keys[0] == "listen" {
			section = "[nats.%s]"
		}
		for _, w := range []struct {
			has       bool
			word, key string
		}{{auth, "authentication", "authorization"}, {tls, "TLS", "tls"}} {
			switch {
			case w.has:
				continue
			case keys[0] == "listen" && w.key == "authorization":
				l.add = append(l.add, "[[services]]")
			default:
				l.add = append(l.add, fmt.Sprintf(section, w.key))
			}
			l.Lacks = append(l.Lacks, w.word)
		}
		ls = append(ls, l)
	}
	add("client", o.Host, o.Port, clients, c.has("tls") && !o.AllowNonTLS, "listen")
	add("cluster", o.Cluster.Host, o.Cluster.Port, o.Cluster.Username != "", c.has("cluster", "tls"), "cluster")
	add("gateway", o.Gateway.Host, o.Gateway.Port, o.Gateway.Username != "", c.has("gateway", "tls"), "gateway")
	leaf := clients || len(o.LeafNode.Users) > 0 || o.LeafNode.Username != "" || o.LeafNode.Nkey != ""
	add("leafnodes", o.LeafNode.Host, o.LeafNode.Port, leaf, c.has("leafnodes", "tls"), "leafnodes")
	ws := (clients || o.Websocket.Username != "" || o.Websocket.Token != "") && o.Websocket.NoAuthUser == ""
	add("websocket", o.Websocket.Host, o.Websocket.Port, ws, c.has("websocket", "tls"), "websocket")
	mqtt := (clients || o.MQTT.Username != "" || o.MQTT.Token != "") && o.MQTT.NoAuthUser == ""
	add("mqtt", o.MQTT.Host, o.MQTT.Port, mqtt, c.has("mqtt", "tls"), "mqtt")
	return ls
}

// Loopback reports whether only this machine reaches a listener on that host.
func Loopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
