package lean

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPort = "4222"
	maxServers  = 32 // addresses that are kept, those that servers told of included
)

// ErrAddress is returned for what is no address of a server.
var ErrAddress = errors.New("an address is nats://, tls://, ws:// or wss:// with a host, or unix:// with the path of a socket; several are separated by commas")

// address is where a server listens.
type address struct {
	scheme string        // nats, tls, ws, wss or unix
	host   string        // host:port, or the path of a Unix socket
	path   string        // of a WebSocket
	user   *url.Userinfo // nil where the address names none
	name   string        // that the server's certificate must be for
}

func (a address) String() string { return a.scheme + "://" + a.host + a.path }

func (a address) webSocket() bool { return a.scheme == "ws" || a.scheme == "wss" }

func (a address) secure() bool { return a.scheme == "tls" || a.scheme == "wss" }

// addresses reads a list of URLs, separated by commas. What is without a scheme is nats://; tcp:// is the same.
func addresses(list string) ([]address, error) {
	var out []address
	for one := range strings.SplitSeq(list, ",") {
		a, err := parseAddress(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		if out = append(out, a); len(out) > maxServers {
			return nil, fmt.Errorf("more than %d addresses: %w", maxServers, ErrAddress)
		}
	}
	return out, nil
}

// Sockets are the paths of the Unix sockets among a list of URLs, and the user that the first of them names, if one does. Error:
// ErrAddress.
func Sockets(list string) (paths []string, user *url.Userinfo, err error) {
	all, err := addresses(list)
	for _, a := range all {
		if a.scheme == "unix" {
			paths = append(paths, a.host)
			user = all[0].user
		}
	}
	return paths, user, err
}

func parseAddress(text string) (address, error) {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return address{}, ErrAddress // without the text, in which a password may stand
	}
	a := address{scheme: strings.ToLower(u.Scheme), host: u.Host, path: u.Path, user: u.User, name: u.Hostname()}
	port := defaultPort
	switch a.scheme {
	case "nats", "tcp":
		a.scheme = "nats"
	case "tls":
	case "ws":
		port = "80"
	case "wss":
		port = "443"
	case "unix":
		if a.host = u.Host + u.Path; a.host == "" {
			return address{}, ErrAddress
		}
		a.path, a.name = "", "localhost"
		return a, nil
	default:
		return address{}, ErrAddress
	}
	if a.name == "" || !a.webSocket() && a.path != "" && a.path != "/" {
		return address{}, ErrAddress
	}
	if !a.webSocket() {
		a.path = ""
	}
	if u.Port() != "" {
		port = u.Port()
	}
	a.host = net.JoinHostPort(a.name, port)
	return a, nil
}

// learn adds the addresses of others that a server tells of: of each only the host and the port are believed, and only so many
// are kept. They are reached as the server is, and their certificates must be for its name where they are told of by number.
func learn(known []address, from address, told []string) []address {
	if from.scheme == "unix" {
		return known // what listens there is for this machine; the others may not be
	}
	for _, t := range told {
		host, port, err := net.SplitHostPort(t)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || !validHost(host) || len(known) >= maxServers {
			continue
		}
		a := from
		a.host = net.JoinHostPort(host, port)
		if net.ParseIP(host) == nil {
			a.name = host
		}
		if !slices.ContainsFunc(known, func(k address) bool { return k.scheme == a.scheme && k.host == a.host }) {
			known = append(known, a)
		}
	}
	return known
}

func validHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	return net.ParseIP(host) != nil || strings.IndexFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}) < 0
}
