package main

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/configs"
	"waybill/subjects"
)

// connection is what every command that talks to a site can be told: where it is, who asks, and how to show the answer.
// Each value is a flag, or WAYBILL_ and its name in the environment.
type connection struct {
	p *program

	server, site, creds, rootCA, output string
	timeout                             time.Duration
}

// defaultTimeout is how long a command waits for its answer.
const defaultTimeout = 10 * time.Second

// retryInCommand keeps a command that nobody answers from trying until its time is out.
var retryInCommand = client.Retry{Attempts: 5, Base: 50 * time.Millisecond, Max: 400 * time.Millisecond}

// The forms of output.
const (
	asTable = "table"
	asJSON  = "json"
)

// connectionFlags adds the shared flags to a command.
func (p *program) connectionFlags(c *cobra.Command) *connection {
	x := &connection{p: p}
	f := c.Flags()
	f.StringVarP(&x.output, "output", "o", "", "table or json (default: table on a terminal, else json)")
	f.StringVar(&x.server, "server", "", "`URL` of the site's NATS server: nats://, tls://, ws://, wss:// or unix:///path (default: the one that runs on this machine)")
	f.StringVar(&x.site, "site", string(subjects.DefaultSite), "`name` of the site")
	f.StringVar(&x.creds, "creds", "", "`path` of an nkey seed, of a .creds file, or of a node's directory of secrets")
	f.StringVar(&x.rootCA, "tls-ca", "", "PEM `file` with the certificates to trust")
	f.DurationVar(&x.timeout, "timeout", defaultTimeout, "how long to wait for an answer")
	return x
}

// settle fills in from the environment what no flag said, and checks the values.
func (x *connection) settle(c *cobra.Command) error {
	for _, name := range []string{"output", "server", "site", "creds", "tls-ca", "timeout"} {
		variable := "WAYBILL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		value := x.p.env[variable]
		if value == "" || c.Flags().Changed(name) {
			continue
		}
		if err := c.Flags().Set(name, value); err != nil {
			return usage("%s=%q: %v", variable, value, err)
		}
	}
	if err := x.settleOutput(); err != nil {
		return err
	}
	if x.timeout <= 0 {
		return usage("the timeout %s is not positive", x.timeout)
	}
	if err := subjects.Site(x.site).Check(); err != nil {
		return usage("%q is no site: 1 to 32 characters of a-z, 0-9 and -, the first no hyphen", x.site)
	}
	if x.server == "" {
		x.server = x.p.localServer()
	}
	return nil
}

// settleOutput decides on the form of output.
func (x *connection) settleOutput() error {
	switch x.output {
	case "":
		x.output = asJSON
		if x.p.outTerminal {
			x.output = asTable
		}
	case asTable, asJSON:
	default:
		return usage("the output %q is neither table nor json", x.output)
	}
	return nil
}

// open connects, with options over those that all commands have. The client must be closed.
func (x *connection) open(ctx context.Context, more ...client.Option) (*client.Client, error) {
	options := []client.Option{client.WithSite(subjects.Site(x.site)), client.WithName("waybill command"),
		client.WithTimeout(x.timeout), client.WithRetry(retryInCommand), client.WithSignature(signature())}
	if x.creds != "" {
		options = append(options, client.WithCredentials(x.creds))
	}
	if x.rootCA != "" {
		options = append(options, client.WithRootCA(x.rootCA))
	}
	return client.Connect(ctx, x.server, append(options, more...)...)
}

// signature is who runs the command, for the history of what it changes: user@host, as far as the machine knows.
func signature() string {
	name, host := "somebody", "somewhere"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return short(name+"@"+host, 100)
}

// localServer is the address of the node that runs on this machine's data directory, as far as it left one there.
func (p *program) localServer() string {
	config, err := configs.Load("", p.nodeEnviron(), nil)
	if err != nil {
		return client.DefaultURL // a configuration that is wrong is serve's to complain about
	}
	var endpoints struct {
		NATS string `json:"nats"`
	}
	content, err := os.ReadFile(filepath.Join(config.Data, "endpoints.json"))
	if err != nil || json.Unmarshal(content, &endpoints) != nil || endpoints.NATS == "" {
		return client.DefaultURL
	}
	if !strings.Contains(endpoints.NATS, "://") {
		return "nats://" + endpoints.NATS
	}
	return endpoints.NATS
}

// nodeEnviron is the environment without the variables that are for commands alone.
func (p *program) nodeEnviron() []string {
	return slices.DeleteFunc(slices.Clone(p.environ), func(pair string) bool { return strings.HasPrefix(pair, "WAYBILL_TLS_CA=") })
}
