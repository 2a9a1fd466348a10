package embedded

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"waybill/internal/fault"
	"waybill/subjects"
)

// The two accounts of the embedded server. Permissions alone can't keep clients from writing: a client names the subject
// that an answer goes to (its reply subject), and the server and the services publish there with their own rights. In one
// account with the streams, a question to JetStream with the reply subject wb.local.evt.order.x would put its answer into the
// journal. So clients are in an account without streams, where what they name as a reply subject leads nowhere, and the few
// subjects of JetStream that they may use are imported into it, one by one.
//
// Requests don't cross accounts, because that halves their throughput: each service has a second user in the clients'
// account, which answers there and has no way to the streams.
const (
	accountSite    = "SITE"    // the streams, the services that write them, admin
	accountClients = "CLIENTS" // clients, and the services' front users
)

// opening is a subject that clients may publish to in the streams' account.
type opening struct {
	subject string
	to      string        // in the streams' account; empty for the same subject
	stream  bool          // more than one reply may come
	keep    time.Duration // how long a reply is waited for, since the last; 0 is the server's default of 2 minutes
}

// openings is the table of what clients may do with the streams.
func openings() []opening {
	list := []opening{
		{subject: "$JS.API.INFO"},
		{subject: "$JS.API.STREAM.NAMES"},
		{subject: "$JS.API.STREAM.LIST"},
	}
	for _, s := range []string{subjects.StreamJournal, subjects.StreamDead} {
		list = append(list,
			opening{subject: "$JS.API.STREAM.INFO." + s},
			opening{subject: "$JS.API.STREAM.MSG.GET." + s},
			// A batch has many replies, and the server can't know the last: what a request leaves behind must go soon.
			opening{subject: "$JS.API.DIRECT.GET." + s, stream: true, keep: 5 * time.Second},
			opening{subject: "$JS.API.DIRECT.GET." + s + ".>"},
			opening{subject: "$JS.API.CONSUMER.CREATE." + s, to: gatePrefix + "CREATE." + s},
			opening{subject: "$JS.API.CONSUMER.CREATE." + s + ".>", to: gatePrefix + "CREATE." + s + ".>"},
			opening{subject: "$JS.API.CONSUMER.DURABLE.CREATE." + s + ".*", to: gatePrefix + "DURABLE.CREATE." + s + ".*"},
			opening{subject: "$JS.API.CONSUMER.INFO." + s + ".*"},
			opening{subject: "$JS.API.CONSUMER.NAMES." + s},
			opening{subject: "$JS.API.CONSUMER.LIST." + s},
			opening{subject: "$JS.API.CONSUMER.DELETE." + s + ".*"},
			opening{subject: "$JS.API.CONSUMER.MSG.NEXT." + s + ".*", stream: true},
			opening{subject: "$JS.ACK." + s + ".>"},
			opening{subject: "$JS.ACK.*.*." + s + ".>"},
			opening{subject: "$JS.FC." + s + ".>"},
			opening{subject: "$JS.FC.*.*." + s + ".>"},
		)
	}
	return list
}

// clientRight repeats the openings as permissions, so that a client is told what it may not do, and adds what no import can
// say: not to the durable consumers of the program.
func clientRight(site subjects.Site) right {
	r := right{publish: []string{"wb.*.rpc.>", "$SRV.>"}, subscribe: []string{inboxPrefix(UserClient) + ".>"}}
	for _, o := range openings() {
		r.publish = append(r.publish, o.subject)
	}
	for _, s := range []string{subjects.StreamJournal, subjects.StreamDead} {
		r.deny = append(r.deny, foreignDurables(s)...)
	}
	return r
}

// options are the server's, and the accounts that they hold.
type options struct {
	server.Options
	site, clients *server.Account
	insiders      insiders
}

// insiders are second keys of the services' users on the streams, by which this process knows its own connections: they may publish
// whatever they like. The server remembers for some subjects that a user may publish there, but each event has a new one. What is in
// this process could as well take any key that it holds; the seed of an insider's is made at the start, is in no file and leaves the
// process by no way, so nobody who comes from outside, also through a door, can be taken for one. The front users are not among them:
// they answer where their callers want it.
type insiders map[string]nkeys.KeyPair

// addInsiders makes the insiders' keys, and users of them that may hear what the services' own may.
func (o *options) addInsiders(site subjects.Site) error {
	o.insiders = make(insiders)
	for _, s := range subjects.Services {
		kp, err := nkeys.CreateUser()
		if err != nil {
			return fault.Wrap(err, fault.Internal, "no nkey could be made")
		}
		if err := o.addKey(kp, o.site, &server.Permissions{Subscribe: Permissions(site, string(s)).Subscribe}); err != nil {
			return err
		}
		o.insiders[string(s)] = kp
	}
	return nil
}

// key is what the user connects with within the process.
func (n *NATS) key(user string) (pub string, kp nkeys.KeyPair, err error) {
	kp, ok := n.insiders[user]
	if !ok {
		if kp, err = n.secrets.User(user); err != nil {
			return "", nil, err
		}
	}
	if pub, err = kp.PublicKey(); err != nil {
		return "", nil, fault.Wrap(err, fault.Internal, "the nkey of the user %s has no public part", user)
	}
	return pub, kp, nil
}

// addUsers makes the accounts, and the users in them.
func (o *options) addUsers(site subjects.Site, secrets *Secrets, anonymous bool) error {
	o.site, o.clients = server.NewAccount(accountSite), server.NewAccount(accountClients)
	o.Accounts = []*server.Account{o.site, o.clients}
	if err := o.connectAccounts(site); err != nil {
		return fault.Wrap(err, fault.Internal, "the accounts of the NATS server can't be connected")
	}
	for _, u := range Users() {
		kp, err := secrets.User(u)
		if err != nil {
			return err
		}
		acc := o.site
		if accountOf(u) == accountClients {
			acc = o.clients
		}
		if err := o.addKey(kp, acc, Permissions(site, u)); err != nil {
			return err
		}
	}
	if err := o.addInsiders(site); err != nil {
		return err
	}
	if anonymous {
		// Who connects without credentials becomes this user: a name of the shape of a key that nobody has.
		nobody, err := nkeys.CreateUser()
		if err != nil {
			return fault.Wrap(err, fault.Internal, "no nkey could be made")
		}
		if err := o.addKey(nobody, o.clients, Permissions(site, UserClient)); err != nil {
			return err
		}
		if o.NoAuthUser, err = nobody.PublicKey(); err != nil {
			return fault.Wrap(err, fault.Internal, "an nkey has no public part")
		}
	}
	return nil
}

func (o *options) addKey(kp nkeys.KeyPair, acc *server.Account, p *server.Permissions) error {
	pub, err := kp.PublicKey()
	if err != nil {
		return fault.Wrap(err, fault.Internal, "an nkey has no public part")
	}
	o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: pub, Account: acc, Permissions: p})
	return nil
}

// addGate adds the user of the gate (gate.go), with a key that lives as long as the server.
func (o *options) addGate(site subjects.Site) (nats.Option, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "no nkey could be made")
	}
	if err := o.addKey(kp, o.site, gatePermissions()); err != nil {
		return nil, err
	}
	pub, err := kp.PublicKey()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "an nkey has no public part")
	}
	return nats.Nkey(pub, kp.Sign), nil
}

// mapDomain has one mapping take the subjects of JetStream's API with the domain to those without, in place of the server's nine: it
// goes through all of them for every message that is published. Buckets, which two of the nine are for, a site has none. The server makes
// its nine as JetStream is enabled for the account: this comes after that.
func mapDomain(site subjects.Site, acc *server.Account) error {
	prefix := "$JS." + string(site) + ".API."
	for _, part := range []string{"INFO", "STREAM.>", "CONSUMER.>", "DIRECT.>", "META.>", "SERVER.>", "ACCOUNT.>", "$KV.>", "$OBJ.>"} {
		acc.RemoveMapping(prefix + part)
	}
	return acc.AddMapping(prefix+">", "$JS.API.>")
}

func (o *options) connectAccounts(site subjects.Site) error {
	only := []*server.Account{o.clients}
	for _, p := range openings() {
		to := p.subject
		if p.to != "" {
			to = p.to
		}
		kind := server.Singleton
		if p.stream {
			kind = server.Streamed
		}
		if err := o.site.AddServiceExportWithResponse(to, kind, only); err != nil {
			return err
		}
		if p.keep > 0 {
			if err := o.site.SetServiceExportResponseThreshold(to, p.keep); err != nil {
				return err
			}
		}
		// Both forms of an API subject, with and without the domain, lead to the one without.
		for _, from := range withDomain(site, []string{p.subject}) {
			if err := o.clients.AddServiceImport(o.site, from, to); err != nil {
				return err
			}
		}
	}
	// What push consumers deliver. Services have their own inboxes, so nothing else comes this way.
	if err := o.site.AddStreamExport("_INBOX.>", only); err != nil {
		return err
	}
	return o.clients.AddStreamImport(o.site, "_INBOX.>", "")
}
