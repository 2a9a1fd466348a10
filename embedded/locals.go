package embedded

import (
	"sync"

	"github.com/nats-io/nats-server/v2/server"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/subjects"
)

// clientInbox is what the inboxes of clients begin with.
const clientInbox = "_INBOX."

// locals is how requests are delivered within the process, without the server between.
type locals struct {
	*lean.Local
	site      subjects.Site
	clientKey string
	client    *rights
	payload   int // bytes of a message at most
}

func newLocals(srv *server.Server, site subjects.Site, secrets *Secrets, payload int32) (*locals, error) {
	clients, err := srv.LookupAccount(accountClients)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the clients' account is not there")
	}
	kp, err := secrets.User(UserClient)
	if err != nil {
		return nil, err
	}
	key, err := kp.PublicKey()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "an nkey has no public part")
	}
	if payload == 0 {
		payload = defaultMaxPayload
	}
	return &locals{Local: lean.NewLocal(clients.Interest), site: site, clientKey: key, client: newRights(site, UserClient), payload: int(payload)}, nil
}

// find is who hears a client's request.
func (l *locals) find(subject []byte) (lean.Hearer, bool) {
	h, ok := l.Find(subject)
	return h, ok && l.client.may(h.Subject())
}

// rights says what a user may publish, as the server does for those whose messages go through it.
type rights struct {
	allow, deny []string
	known       sync.Map // answers that were given, by subject; only subjects of services are asked for
}

func newRights(site subjects.Site, user string) *rights {
	p := Permissions(site, user).Publish
	return &rights{allow: p.Allow, deny: p.Deny}
}

func (r *rights) may(subject string) bool {
	if known, ok := r.known.Load(subject); ok {
		return known.(bool)
	}
	may := covered(r.allow, subject) && !covered(r.deny, subject)
	r.known.Store(subject, may)
	return may
}

func covered(patterns []string, subject string) bool {
	for _, p := range patterns {
		if server.SubjectMatchesFilter(subject, p) {
			return true
		}
	}
	return false
}
