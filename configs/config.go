// Package configs says how a node is set up. Config is what stands still while it runs: defaults, then a file, then the
// environment, then flags, each over the one before. Settings are what may change while it runs: each is declared once,
// with type, default and bounds, and Live holds their current values for readers that must not wait.
// A value that is wrong is refused in one line that names it, where it came from, and its right form.
package configs

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"waybill/internal/fault"
	"waybill/subjects"
)

// The two promises that a node can make about what it has answered.
const (
	Strict = "strict" // it survives a power cut
	Fast   = "fast"   // it survives the death of the process
)

// Config is the static configuration of one node. It is a plain value: copy it, and change the copy.
type Config struct {
	Data string        // directory that holds everything this node keeps
	Site subjects.Site // the site that this node belongs to

	NATSAddr string // where the NATS server inside this process listens; unused with NATSURL or Join
	HTTPAddr string // where HTTP listens
	EtcdAddr string // where the etcd inside this process listens; unused with EtcdEndpoints or Join

	NATSSocket    string   // a Unix socket on which the NATS server listens, too; empty: see Socket; off or -: none
	NATSWSAddr    string   // where the NATS server listens for WebSockets; empty: nowhere
	NATSWSOrigins []string // of the web pages that may connect there, beside those of NATSWSAddr itself
	NATSPoll      string   // a duration; see Poll

	NATSURL       string   // an existing NATS cluster, comma-separated; empty: run one in this process
	EtcdEndpoints []string // an existing etcd cluster; empty: run one in this process
	Creds         string   // path of an nkey seed, a .creds file, or another node's directory of secrets
	Join          string   // data directory of the process that holds this site's store: its addresses and secrets are used

	Services   []subjects.Service // the services that run here
	Durability string             // Strict or Fast

	LogLevel  string // trace, debug, info, warn or error, where the setting log.level is inherit
	LogFormat string // json, console, or auto: console on a terminal, else json

	TLSCert string // PEM file with the certificate of this node's listeners
	TLSKey  string // PEM file with its key
}

// Default is the configuration of a node that was told nothing. Data is $XDG_DATA_HOME/waybill, else
// ~/.local/share/waybill, else ./waybill-data where there is no home.
func Default() Config { return defaults(os.Getenv) }

func defaults(getenv func(string) string) Config {
	return Config{
		Data:       defaultData(getenv),
		Site:       subjects.DefaultSite,
		NATSAddr:   "127.0.0.1:4222",
		HTTPAddr:   "127.0.0.1:8080",
		EtcdAddr:   "127.0.0.1:2379",
		NATSPoll:   "50us",
		Services:   slices.Clone(subjects.Services),
		Durability: Strict,
		LogLevel:   "info",
		LogFormat:  "auto",
	}
}

func defaultData(getenv func(string) string) string {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) { // the XDG specification says to ignore a relative one
		return filepath.Join(dir, "waybill")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "waybill")
	}
	return "waybill-data"
}

// Socket is the Unix socket on which the NATS server inside this process listens: nats.sock in the data directory where nothing
// else is said; empty for none.
func (c Config) Socket() string {
	switch c.NATSSocket {
	case "":
		return filepath.Join(c.Data, "nats.sock")
	case "off", "-":
		return ""
	}
	return c.NATSSocket
}

// Poll is for how long the reads of clients on this machine look for data before they wait to be woken; 0: not at all.
func (c Config) Poll() time.Duration {
	d, err := ParseDuration(c.NATSPoll)
	if err != nil {
		return 0 // which Validate refuses
	}
	return d
}

// Validate checks every value, and whether they fit together. Error: invalid_argument that names the key at fault.
func (c Config) Validate() error {
	for _, o := range options {
		text := o.text(&c)
		if err := o.check(text); err != nil {
			return fault.Invalid(o.Key(), "%s %s: %s", o.Key(), o.show(text), err)
		}
	}
	return c.fits()
}

// fits checks what no single value can be blamed for.
func (c Config) fits() error {
	switch {
	case c.Join != "" && c.NATSURL != "":
		return fault.Invalid("join", "join and nats_url exclude each other: join takes the address of NATS from the directory that it names")
	case c.Join != "" && len(c.EtcdEndpoints) > 0:
		return fault.Invalid("join", "join and etcd_endpoints exclude each other: join takes the address of etcd from the directory that it names")
	case c.TLSCert != "" && c.TLSKey == "":
		return fault.Invalid("tls_key", "tls_cert is set and tls_key is not: give the file of the certificate's key as well")
	case c.TLSKey != "" && c.TLSCert == "":
		return fault.Invalid("tls_cert", "tls_key is set and tls_cert is not: give the file of the key's certificate as well")
	}
	return c.safe()
}

// safe refuses a listener that others can reach and that speaks in the clear, or to anybody.
func (c Config) safe() error {
	for _, l := range []struct {
		key, addr string
		used      bool
		remedy    string
	}{
		{"nats_addr", c.NATSAddr, c.NATSURL == "" && c.Join == "" && c.TLSCert == "", "set tls_cert and tls_key, or listen on 127.0.0.1"},
		{"nats_ws_addr", c.NATSWSAddr, c.NATSWSAddr != "" && c.NATSURL == "" && c.Join == "" && c.TLSCert == "", "set tls_cert and tls_key, or listen on 127.0.0.1"},
		{"http_addr", c.HTTPAddr, true, "it knows no users, so listen on 127.0.0.1"},
		{"etcd_addr", c.EtcdAddr, len(c.EtcdEndpoints) == 0 && c.Join == "", "the embedded etcd knows no users, so listen on 127.0.0.1, " +
			"or give several processes an etcd of their own with etcd_endpoints"},
	} {
		if l.used && !loopback(l.addr) {
			return fault.Invalid(l.key, "%s %q can be reached from other machines: %s", l.key, l.addr, l.remedy)
		}
	}
	return nil
}
