package embedded

import (
	"context"
	"net"
)

// listenTCP takes the address of the door for TCP, which opens in listen: until then who connects there waits. It returns nil where
// the server's own listener takes the clients.
func (c NATSConfig) listenTCP(ctx context.Context) (net.Listener, error) {
	if c.StockTCP {
		return nil, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, portError(err, "NATS", c.Addr, "--nats-addr")
	}
	return l, nil
}

// listen opens the ways in, when all that is behind them stands.
func (n *NATS) listen(ctx context.Context, c NATSConfig, tcp net.Listener) error {
	var secure *handshakes
	if c.TLS != nil {
		secure = newHandshakes(c.TLS)
	}
	if tcp != nil {
		n.tcp = n.add(tcp, maxTCP, c)
		if secure != nil {
			n.tcp.secure, n.tcp.greet = true, secure.greet
		}
	} else {
		n.server.AcceptLoop(make(chan struct{}))
		if n.server.Addr() == nil {
			return n.listenError(c.Addr)
		}
	}
	if c.Socket != "" {
		l, err := listenSocket(ctx, c.Socket)
		switch {
		case err == nil:
			n.socket = c.Socket
			n.add(l, maxSocket, c)
		case c.SocketOptional:
			c.Log.Warn().Err(err).Msg("there is no Unix socket for NATS")
		default:
			return err
		}
	}
	if c.WSAddr != "" {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", c.WSAddr)
		if err != nil {
			return portError(err, "NATS over WebSocket", c.WSAddr, "--nats-ws-addr")
		}
		n.ws = n.add(l, maxWebSocket, c)
		n.ws.secure, n.ws.greet, n.ws.full = secure != nil, (&webSocket{tls: secure, origins: c.WSOrigins}).greet, ""
	}
	for _, d := range n.doors {
		d.open()
	}
	return nil
}

func (n *NATS) add(l net.Listener, most int, c NATSConfig) *door {
	d := newDoor(l, most, n.server.InProcessConn, c.Log)
	d.poll, d.local = c.Poll, n.local
	n.doors = append(n.doors, d)
	return d
}

// Socket is the path of the Unix socket; empty without one.
func (n *NATS) Socket() string { return n.socket }

// WSURL is where WebSocket clients connect: ws://host:port, or wss://host:port; empty without such a listener.
func (n *NATS) WSURL() string {
	if n.ws == nil {
		return ""
	}
	scheme := "ws"
	if n.scheme == "tls" {
		scheme = "wss"
	}
	return scheme + "://" + n.WSAddr()
}

// WSAddr is the host:port of the WebSocket listener, with the port that was chosen where 0 was asked for; empty without one.
func (n *NATS) WSAddr() string {
	if n.ws == nil {
		return ""
	}
	return n.ws.listener.Addr().String()
}
