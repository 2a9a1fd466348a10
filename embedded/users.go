package embedded

import (
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"waybill/subjects"
)

// The users that are not services.
const (
	UserAdmin   = "admin"   // makes and changes the streams and the durable consumers; used by the start of a node
	UserGateway = "gateway" // the HTTP gateway: calls what any client may call, and reads the journal
	UserClient  = "client"  // everyone else, with credentials or (on loopback) without
)

// Front is the user with which a service (or the gateway) answers and makes requests. It works in the clients' account; the
// user of the service's own name works on the streams, in theirs. accounts.go says why these are two.
func Front[T ~string](service T) string { return string(service) + "-front" }

// Users lists every user that has an nkey: two for each service and for the gateway, and admin and client.
func Users() []string {
	u := []string{UserAdmin, UserClient, UserGateway, Front(UserGateway)}
	for _, s := range subjects.Services {
		u = append(u, string(s), Front(s))
	}
	return u
}

// accountOf names the account that the user belongs to.
func accountOf(user string) string {
	if user == UserClient || strings.HasSuffix(user, Front("")) {
		return accountClients
	}
	return accountSite
}

// inboxPrefix is where a user's replies come: out of everyone else's reach.
func inboxPrefix(user string) string {
	if user == UserClient {
		return "_INBOX"
	}
	return "_WB." + user
}

// right is what one user may do. Subjects are those after the server's own mapping of $JS.<domain>.API to $JS.API.
type right struct {
	publish, deny, subscribe []string
}

// duty is the table's row for one service.
type duty struct {
	events   []subjects.Kind    // writes them
	calls    []subjects.Service // requests to them, public and internal methods
	durables []subjects.Durable // takes from them, and writes their dead letters
	wakes    bool               // hears of every event when it is published, before it is durable
	storage  []string           // further subjects of JetStream and of the streams beside the journal
	internal bool               // may call every service's internal methods
	probes   bool               // asks every instance whether it answers, and who leads
}

// duties is the table of the services' permissions. Besides, every service may answer its requests, ask the journal service,
// and read the journal.
func duties(site subjects.Site) map[subjects.Service]duty {
	keys := readStream(subjects.StreamKeys)
	return map[subjects.Service]duty{
		subjects.Catalog: {events: kinds(subjects.KindCatalog)},
		subjects.Inventory: {
			events: kinds(subjects.KindStock, subjects.KindReservation, subjects.KindLeader),
		},
		subjects.Payment: {
			events: kinds(subjects.KindPayment, subjects.KindRefund, subjects.KindLedger),
			calls:  []subjects.Service{subjects.Order},
		},
		subjects.Order: {
			events:   kinds(subjects.KindOrder),
			calls:    []subjects.Service{subjects.Inventory, subjects.Payment, subjects.Shipping},
			durables: take(subjects.DurableProcess),
			wakes:    true,
			storage:  append(keys, subjects.AllKeys(site)),
		},
		subjects.Shipping: {
			events:   kinds(subjects.KindShipment),
			calls:    []subjects.Service{subjects.Inventory, subjects.Payment, subjects.Order},
			durables: take(subjects.DurablePlan),
		},
		subjects.Notification: {
			events:   kinds(subjects.KindNotification),
			calls:    []subjects.Service{subjects.Order},
			durables: take(subjects.DurableNotify, subjects.DurableNotifyShipments),
			storage:  keys,
		},
		subjects.Webhook:  {events: kinds(subjects.KindWebhook)},
		subjects.Customer: {storage: append(keys, "$JS.API.STREAM.MSG.DELETE."+subjects.StreamKeys)},
		subjects.Config:   {},
		subjects.Health:   {probes: true},
		subjects.Dead: {
			storage:  append(readStream(subjects.StreamDead), "$JS.API.STREAM.MSG.DELETE."+subjects.StreamDead),
			internal: true,
		},
		subjects.Journal: {storage: []string{
			"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*",
			"$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
			"$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.*.*",
		}},
	}
}

func kinds(k ...subjects.Kind) []subjects.Kind { return k }

func take(d ...subjects.Durable) []subjects.Durable { return d }

// Permissions are what the user of the site may publish and subscribe to; everything else is refused. A user that is not one
// of Users may nothing. What this process's own services may publish is not looked at (see insiders).
func Permissions(site subjects.Site, user string) *server.Permissions {
	var r right
	name, front := strings.CutSuffix(user, Front(""))
	d, isService := duties(site)[subjects.Service(name)]
	switch {
	case isService && front:
		r = frontRight(site, subjects.Service(name), d)
	case isService:
		r = storeRight(site, d)
		r.subscribe = []string{inboxPrefix(user) + ".>"}
		if d.wakes {
			r.subscribe = append(r.subscribe, subjects.AllEvents(site))
		}
	case user == UserAdmin:
		r = right{publish: []string{"$JS.API.>"}, subscribe: []string{inboxPrefix(user) + ".>"}}
	case user == UserGateway:
		r = right{publish: readJournal(), deny: foreignDurables(subjects.StreamJournal), subscribe: []string{inboxPrefix(user) + ".>"}}
	case user == Front(UserGateway):
		r = right{publish: []string{"wb." + string(site) + ".rpc.>", "$SRV.>"}, subscribe: []string{inboxPrefix(user) + ".>"}}
	case user == UserClient:
		r = clientRight(site)
	default:
		r = right{deny: []string{">"}}
	}
	p := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: withDomain(site, r.publish), Deny: withDomain(site, r.deny)},
		Subscribe: &server.SubjectPermission{Allow: r.subscribe},
	}
	if len(r.subscribe) == 0 {
		p.Subscribe.Deny = []string{">"}
	}
	return p
}

// frontRight: requests in, replies and requests out.
func frontRight(site subjects.Site, service subjects.Service, d duty) right {
	rpc, internal := "wb."+string(site)+".rpc.", "wb."+string(site)+".int."
	r := right{
		publish:   []string{"_INBOX.>", "_WB.>", internal + string(subjects.Journal) + ".>"},
		subscribe: []string{rpc + string(service) + ".>", internal + string(service) + ".>", "$SRV.>", inboxPrefix(Front(service)) + ".>"},
	}
	for _, c := range d.calls {
		r.publish = append(r.publish, rpc+string(c)+".>", internal+string(c)+".>")
	}
	if d.probes {
		r.publish = append(r.publish, subjects.Probe(site, "*", "*"), subjects.Presence(site, "*"))
	}
	if d.internal {
		r.publish = append(r.publish, internal+">")
	}
	return r
}

// storeRight: its own events, its own durable consumers, reading.
func storeRight(site subjects.Site, d duty) right {
	r := right{publish: append(readJournal(), d.storage...), deny: foreignDurables(subjects.StreamJournal, d.durables...)}
	for _, k := range d.events {
		r.publish = append(r.publish, subjects.EventsOf(site, k))
	}
	for _, durable := range d.durables {
		r.publish = append(r.publish, subjects.DeadLetter(site, durable))
	}
	return r
}

// readStream reads messages one by one.
func readStream(stream string) []string {
	return []string{
		"$JS.API.STREAM.INFO." + stream,
		"$JS.API.STREAM.MSG.GET." + stream,
		"$JS.API.DIRECT.GET." + stream,
		"$JS.API.DIRECT.GET." + stream + ".>",
	}
}

// readJournal is readStream and consumers of one's own, whose name is always part of the subject, so that deny rules hold.
func readJournal() []string {
	const s = subjects.StreamJournal
	return append(readStream(s),
		"$JS.API.CONSUMER.CREATE."+s+".>",
		"$JS.API.CONSUMER.INFO."+s+".*",
		"$JS.API.CONSUMER.DELETE."+s+".*",
		"$JS.API.CONSUMER.MSG.NEXT."+s+".*",
		"$JS.ACK."+s+".>", "$JS.ACK.*.*."+s+".>", // with and without domain and account
		"$JS.FC."+s+".>", "$JS.FC.*.*."+s+".>",
	)
}

// foreignDurables is what nobody may do to the program's durable consumers: make, change, remove, take from, acknowledge.
// own are those that the user works with; it may take from them and acknowledge, and their making is admin's.
func foreignDurables(stream string, own ...subjects.Durable) []string {
	var deny []string
	for _, d := range subjects.Durables {
		n := stream + "." + string(d)
		deny = append(deny,
			"$JS.API.CONSUMER.CREATE."+n, "$JS.API.CONSUMER.CREATE."+n+".>",
			"$JS.API.CONSUMER.DURABLE.CREATE."+n, "$JS.API.CONSUMER.DELETE."+n)
		if !slices.Contains(own, d) {
			deny = append(deny,
				"$JS.API.CONSUMER.MSG.NEXT."+n,
				"$JS.ACK."+n+".>", "$JS.ACK.*.*."+n+".>",
				"$JS.FC."+n+".>", "$JS.FC.*.*."+n+".>")
		}
	}
	return deny
}

// withDomain adds to each $JS.API subject its form with the domain. The embedded server maps the one to the other before it
// looks at permissions; a server that is reached through a leaf node does not.
func withDomain(site subjects.Site, list []string) []string {
	const api = "$JS.API."
	out := slices.Clone(list)
	for _, s := range list {
		if len(s) > len(api) && s[:len(api)] == api {
			out = append(out, "$JS."+string(site)+".API."+s[len(api):])
		}
	}
	return out
}
