package rpc

import (
	"bytes"
	"context"
	"sync"
	"time"

	"waybill/internal/lean"
	"waybill/internal/scope"
)

// exchange is one request and its reply on their way through the onion. It belongs to one goroutine at a time and is used
// again when the reply is sent: nothing may keep it, and handlers never see it.
type exchange struct {
	endpoint *endpoint
	arrived  time.Time
	incoming lean.Msg
	worker   *worker // that it is with; nil where it is turned away
	refusal  error   // why the request was turned away before any work

	own   *ownContext  // once its time is known
	scope *scope.Scope // once it has one

	request  any // a *Req, empty until decoded
	response any // a *Res, once handled

	body       bytes.Buffer  // the encoded response
	durability string        // strict or fast
	sequence   uint64        // what the reply rests on
	outside    time.Duration // that others than the site were waited for

	header lean.Builder // of the reply
	later  bool         // the reply must be left to another goroutine to write
}

// An invoke takes an exchange one layer further in.
type invoke func(ctx context.Context, x *exchange) error

// A middleware wraps a layer around the next one.
type middleware func(next invoke) invoke

// onion wraps the layers around the core; the first one is the outermost.
func onion(core invoke, layers ...middleware) invoke {
	for i := len(layers) - 1; i >= 0; i-- {
		core = layers[i](core)
	}
	return core
}

// call is the core: the handler.
func call(ctx context.Context, x *exchange) (err error) {
	x.response, err = x.endpoint.handle(ctx, x.request)
	return err
}

// keptBuffer bounds the buffers that are kept for later use, in bytes.
const keptBuffer = 64 << 10

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func takeExchange() *exchange { return exchanges.Get().(*exchange) }

// release hands the exchange back for reuse.
func (x *exchange) release() {
	if x.body.Cap() > keptBuffer {
		return
	}
	header, body := x.header, x.body
	header.Reset()
	body.Reset()
	*x = exchange{body: body, header: header}
	exchanges.Put(x)
}
