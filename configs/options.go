package configs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"waybill/internal/fault"
	"waybill/subjects"
)

// The types of an Option's value.
const (
	TypeText = "text"
	TypeList = "list" // comma-separated in the environment and in flags; a sequence or the same text in the file
)

// Option is one key of Config as data: enough to register its flag, to document it and to read it from anywhere.
type Option struct {
	Name    string // as a flag: nats-addr
	Type    string // TypeText or TypeList
	Default string // as one would write it; a sentence in angle brackets where it depends on the machine
	Help    string

	field  func(*Config) any       // a pointer to the value
	check  func(text string) error // says what the right form is
	secret bool                    // may hold a password: never shown
}

// Key is the option's key in the file: its name with underscores.
func (o Option) Key() string { return strings.ReplaceAll(o.Name, "-", "_") }

// Env is the option's variable in the environment.
func (o Option) Env() string { return "WAYBILL_" + strings.ToUpper(o.Key()) }

// Options lists every option in the order in which they are best read.
func Options() []Option { return slices.Clone(options) }

var options = []Option{
	{Name: "data", Type: TypeText, Default: "<$XDG_DATA_HOME/waybill, else ~/.local/share/waybill, else ./waybill-data>",
		Help:  "directory that holds everything this node keeps",
		field: func(c *Config) any { return &c.Data }, check: required("a directory, such as /var/lib/waybill")},
	{Name: "site", Type: TypeText, Default: "local", Help: "name of the site that this node belongs to",
		field: func(c *Config) any { return &c.Site }, check: checkSite},
	{Name: "nats-addr", Type: TypeText, Default: "127.0.0.1:4222", Help: "address on which NATS listens; port 0 is any free one",
		field: func(c *Config) any { return &c.NATSAddr }, check: checkAddr},
	{Name: "http-addr", Type: TypeText, Default: "127.0.0.1:8080", Help: "address on which HTTP listens; port 0 is any free one",
		field: func(c *Config) any { return &c.HTTPAddr }, check: checkAddr},
	{Name: "etcd-addr", Type: TypeText, Default: "127.0.0.1:2379", Help: "address on which etcd listens; port 0 is any free one",
		field: func(c *Config) any { return &c.EtcdAddr }, check: checkAddr},
	{Name: "nats-socket", Type: TypeText, Default: "<nats.sock in the data directory, where its path is short enough>", Help: "Unix socket on which NATS listens, too, for programs of this user on this machine; off: none",
		field: func(c *Config) any { return &c.NATSSocket }, check: checkSocket},
	{Name: "nats-ws-addr", Type: TypeText, Help: "address on which NATS listens for WebSockets; port 0 is any free one; empty: none",
		field: func(c *Config) any { return &c.NATSWSAddr }, check: checkWSAddr},
	{Name: "nats-ws-origins", Type: TypeList, Help: "web pages that may connect to nats-ws-addr, by their origin, such as https://shop.example; others are refused",
		field: func(c *Config) any { return &c.NATSWSOrigins }, check: checkOrigins},
	{Name: "nats-poll", Type: TypeText, Default: "50us", Help: "for how long NATS looks for a local client's next message before it waits to be woken, where that pays; 0: not at all",
		field: func(c *Config) any { return &c.NATSPoll }, check: checkPoll},
	{Name: "nats-url", Type: TypeText, Help: "existing NATS cluster to use, such as nats://a:4222,nats://b:4222; empty: NATS runs in this process",
		field: func(c *Config) any { return &c.NATSURL }, check: checkNATSURL, secret: true},
	{Name: "etcd-endpoints", Type: TypeList, Help: "existing etcd cluster to use, such as http://a:2379,http://b:2379; empty: etcd runs in a child of this process",
		field: func(c *Config) any { return &c.EtcdEndpoints }, check: checkEndpoints, secret: true},
	{Name: "creds", Type: TypeText, Help: "path of an nkey seed, of a .creds file, or of another node's directory of secrets",
		field: func(c *Config) any { return &c.Creds }, check: anything, secret: true},
	{Name: "join", Type: TypeText, Help: "data directory of the process that holds this site's store: take its addresses and secrets",
		field: func(c *Config) any { return &c.Join }, check: anything},
	{Name: "services", Type: TypeList, Default: joined(subjects.Services), Help: "the services that run here",
		field: func(c *Config) any { return &c.Services }, check: checkServices},
	{Name: "durability", Type: TypeText, Default: Strict, Help: "what was answered survives a power cut (strict) or the death of the process (fast)",
		field: func(c *Config) any { return &c.Durability }, check: oneOf(Strict, Fast)},
	{Name: "log-level", Type: TypeText, Default: "info", Help: "trace, debug, info, warn or error, where the setting log.level is inherit",
		field: func(c *Config) any { return &c.LogLevel }, check: oneOf(levels...)},
	{Name: "log-format", Type: TypeText, Default: "auto", Help: "json, console, or auto: console on a terminal, else json",
		field: func(c *Config) any { return &c.LogFormat }, check: oneOf("json", "console", "auto")},
	{Name: "tls-cert", Type: TypeText, Help: "PEM file with the certificate of this node's listeners; needed where they are not on loopback",
		field: func(c *Config) any { return &c.TLSCert }, check: anything},
	{Name: "tls-key", Type: TypeText, Help: "PEM file with the key of tls-cert",
		field: func(c *Config) any { return &c.TLSKey }, check: anything},
}

var levels = []string{"trace", "debug", "info", "warn", "error"}

// lookupOption finds an option by its flag name, or by its key in the file.
func lookupOption(name string) (Option, bool) {
	i := slices.IndexFunc(options, func(o Option) bool { return o.Name == name || o.Key() == name })
	if i < 0 {
		return Option{}, false
	}
	return options[i], true
}

// set checks text and stores it. A list is given comma-separated. The error's sentence is the right form.
func (o Option) set(c *Config, text string) error {
	if o.Type == TypeList {
		text = strings.Join(split(text), ",")
	}
	if err := o.check(text); err != nil {
		return err
	}
	switch p := o.field(c).(type) {
	case *string:
		*p = text
	case *subjects.Site:
		*p = subjects.Site(text)
	case *[]string:
		*p = split(text)
	case *[]subjects.Service:
		*p = nil
		for _, s := range split(text) {
			*p = append(*p, subjects.Service(s))
		}
	}
	return nil
}

// text is the value in the form that set takes.
func (o Option) text(c *Config) string {
	switch p := o.field(c).(type) {
	case *string:
		return *p
	case *subjects.Site:
		return string(*p)
	case *[]string:
		return strings.Join(*p, ",")
	case *[]subjects.Service:
		return joined(*p)
	}
	return ""
}

// show quotes a value for an error's sentence, unless it may hold a secret.
func (o Option) show(text string) string {
	if o.secret {
		return "(value not shown)"
	}
	return fmt.Sprintf("%.120q", text)
}

func split(list string) []string {
	var parts []string
	for p := range strings.SplitSeq(list, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}

func joined(services []subjects.Service) string {
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = string(s)
	}
	return strings.Join(names, ",")
}

func anything(string) error { return nil }

func required(form string) func(string) error {
	return func(text string) error {
		if text == "" {
			return errors.New("it must be " + form)
		}
		return nil
	}
}

func oneOf(choices ...string) func(string) error {
	return func(text string) error {
		if !slices.Contains(choices, text) {
			return errors.New("it must be one of " + strings.Join(choices, ", "))
		}
		return nil
	}
}

func checkSite(text string) error {
	if err := subjects.Site(text).Check(); err != nil {
		return errors.New(fault.From(err).Message)
	}
	return nil
}

func checkAddr(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err == nil && !strings.ContainsAny(host, " /@") {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && strconv.FormatUint(n, 10) == port {
			return nil
		}
	}
	return errors.New("it must be host:port, such as 127.0.0.1:4222, with a port from 0 (any free one) to 65535")
}

// maxSocketPath is the longest path that a Unix socket may have on every system.
const maxSocketPath = 103

func checkSocket(text string) error {
	if len(text) > maxSocketPath || strings.ContainsRune(text, 0) {
		return fmt.Errorf("it must be off, or the path of a Unix socket, of at most %d bytes", maxSocketPath)
	}
	return nil
}

func checkWSAddr(text string) error {
	if text == "" {
		return nil
	}
	return checkAddr(text)
}

func checkOrigins(text string) error {
	for _, origin := range split(text) {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
			return errors.New("it must be origins as browsers write them, such as https://shop.example or http://127.0.0.1:3000, separated by commas")
		}
	}
	return nil
}

// maxPoll bounds what a read that waits in vain may cost.
const maxPoll = time.Millisecond

func checkPoll(text string) error {
	if d, err := ParseDuration(text); err != nil || d < 0 || d > maxPoll {
		return fmt.Errorf("it must be a duration such as 50us, from 0 to %s", FormatDuration(maxPoll))
	}
	return nil
}

func checkNATSURL(text string) error {
	for _, part := range split(text) {
		u, err := url.Parse(part)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("it must be one or more addresses such as nats://host:4222 or tls://host:4222, separated by commas")
		}
	}
	return nil
}

func checkEndpoints(text string) error {
	for _, part := range split(text) {
		hostPort := part
		if scheme, rest, ok := strings.Cut(part, "://"); ok {
			if scheme != "http" && scheme != "https" {
				return errEndpoints
			}
			hostPort = rest
		}
		if host, _, err := net.SplitHostPort(hostPort); err != nil || host == "" || checkAddr(hostPort) != nil {
			return errEndpoints
		}
	}
	return nil
}

var errEndpoints = errors.New("it must be addresses such as http://host:2379 or host:2379, separated by commas")

func checkServices(text string) error {
	names := split(text)
	for i, name := range names {
		if !subjects.Service(name).Known() {
			return fmt.Errorf("%.40q is no service; there are %s", name, joined(subjects.Services))
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("%s stands there twice", name)
		}
	}
	if len(names) == 0 {
		return errors.New("it must name at least one of " + joined(subjects.Services))
	}
	return nil
}

// loopback reports whether only this machine can reach a listener on addr.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
