package embedded

import (
	stdjson "encoding/json" // the server's own decoder, see inspect
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/subjects"
)

// gate stands between clients and the making of consumers. A consumer delivers with the server's own rights to whatever
// subject its maker names: a service's inbox, another stream, the acknowledgements of a durable consumer, the API itself.
// The gate lets a client's consumer deliver to a client's inbox and nowhere else, and keeps the program's durable consumers
// out of reach where the subject does not name them. While it is down, clients can't make consumers.
type gate struct {
	nc  *nats.Conn
	log zerolog.Logger
}

const (
	gateUser    = "gate"
	gatePrefix  = "_WBGATE."
	gateTimeout = 4 * time.Second // less than the 5 s that clients wait
	gateWorkers = 4
	gatePending = 1024 // requests that wait for a worker; more are dropped, and their clients run into their time-out

	// maxIdle is how long a client's consumer may stay unused before it goes, where the client asks for more, or for ever.
	maxIdle = 24 * time.Hour
)

func gatePermissions() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"_R_.>", "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DURABLE.CREATE.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{gatePrefix + ">", inboxPrefix(gateUser) + ".>"}},
	}
}

func openGate(connect func(user string, o ...nats.Option) (*nats.Conn, error), key nats.Option, site subjects.Site, log zerolog.Logger) (*gate, error) {
	nc, err := connect(gateUser, key)
	if err != nil {
		return nil, err
	}
	g := &gate{nc: nc, log: log}
	for range gateWorkers {
		sub, err := nc.QueueSubscribe(gatePrefix+">", gateUser, g.serve)
		if err == nil {
			err = sub.SetPendingLimits(gatePending, -1)
		}
		if err != nil {
			nc.Close()
			return nil, fault.Wrap(err, fault.Unavailable, "the gate of the clients' consumers can't open")
		}
	}
	if err := nc.FlushTimeout(stopTimeout); err != nil {
		nc.Close()
		return nil, fault.Wrap(err, fault.Unavailable, "the gate of the clients' consumers can't open")
	}
	return g, nil
}

func (g *gate) close() { g.nc.Close() }

func (g *gate) healthy() error {
	if !g.nc.IsConnected() {
		return fault.New(fault.Unavailable, "the gate of the clients' consumers is not connected")
	}
	return nil
}

func (g *gate) serve(m *nats.Msg) {
	if m.Reply == "" {
		return // a consumer that nobody would know the name of
	}
	rest := strings.TrimPrefix(m.Subject, gatePrefix)
	body, refusal := inspect(m.Data)
	if refusal != nil {
		g.answer(m, nil, refuse(refusal))
		return
	}
	req := &nats.Msg{Subject: "$JS.API.CONSUMER." + rest, Data: body, Header: nats.Header{}}
	if v := m.Header.Get(server.JSRequiredApiLevel); v != "" {
		req.Header.Set(server.JSRequiredApiLevel, v)
	}
	res, err := g.nc.RequestMsg(req, gateTimeout)
	if err != nil {
		// A bad request has no better answer from JetStream than silence.
		g.log.Warn().Err(err).Str("subject", req.Subject).Msg("a client's consumer could not be made")
		g.answer(m, nil, refuse(&server.ApiError{Code: 503, ErrCode: 10008, Description: "the consumer could not be made; try again"}))
		return
	}
	g.answer(m, res.Header, res.Data)
}

func (g *gate) answer(m *nats.Msg, h nats.Header, body []byte) {
	if err := m.RespondMsg(&nats.Msg{Header: h, Data: body}); err != nil {
		g.log.Warn().Err(err).Msg("the answer to a client's making of a consumer could not be sent")
	}
}

// inspect decodes a request with the decoder and into the type that the server uses, and encodes what was understood: so the
// server sees the checked values, and not some other reading of the same bytes.
func inspect(data []byte) ([]byte, *server.ApiError) {
	var req server.CreateConsumerRequest
	if err := stdjson.Unmarshal(data, &req); err != nil {
		return nil, &server.ApiError{Code: 400, ErrCode: 10025, Description: "invalid JSON: " + err.Error()}
	}
	c := &req.Config
	if strings.HasPrefix(c.Name, subjects.ReaderPrefix) || strings.HasPrefix(c.Durable, subjects.ReaderPrefix) {
		return nil, forbidden("consumers whose names begin with " + subjects.ReaderPrefix + " belong to the program; choose another name")
	}
	for _, d := range subjects.Durables {
		if c.Name == string(d) || c.Durable == string(d) {
			return nil, forbidden("the consumer " + string(d) + " belongs to the program; choose another name")
		}
	}
	switch {
	case c.DeliverSubject != "" && !strings.HasPrefix(c.DeliverSubject, inboxPrefix(UserClient)+"."):
		return nil, forbidden("deliver_subject must be an inbox of yours, _INBOX.>; or use a pull consumer")
	case c.Direct || c.Sourcing:
		return nil, forbidden("a consumer for mirrors and sources needs the credentials of a hub")
	}
	if c.InactiveThreshold <= 0 && c.Durable != "" || c.InactiveThreshold > maxIdle {
		c.InactiveThreshold = maxIdle
	}
	body, err := stdjson.Marshal(&req)
	if err != nil {
		return nil, &server.ApiError{Code: 400, ErrCode: 10025, Description: "invalid JSON: " + err.Error()}
	}
	return body, nil
}

func forbidden(description string) *server.ApiError {
	return &server.ApiError{Code: 403, ErrCode: uint16(server.JSConsumerInvalidDeliverSubject), Description: description}
}

func refuse(e *server.ApiError) []byte {
	b, err := stdjson.Marshal(server.JSApiConsumerCreateResponse{
		ApiResponse: server.ApiResponse{Type: server.JSApiConsumerCreateResponseType, Error: e},
	})
	if err != nil {
		return nil // two strings and two numbers: it can't fail
	}
	return b
}
