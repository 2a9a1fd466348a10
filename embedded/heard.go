package embedded

import "waybill/internal/fault"

// Heard returns a function that reports whether anybody listens to a subject in the clients' account, where requests and their
// answers are. It asks the server's own table, in a microsecond or so, and is safe for concurrent use.
func (n *NATS) Heard() (func(subject string) bool, error) {
	clients, err := n.server.LookupAccount(accountClients)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the clients' account is not there")
	}
	return clients.SubscriptionInterest, nil
}
