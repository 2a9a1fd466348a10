package embedded

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"

	"github.com/rs/zerolog"
)

const (
	lineBuffer = 4 << 10 // bytes that a line of the server's may have; its INFO has less than 600
	info       = "INFO {"
)

// secured is a connection to the server for a client over TLS. The server, which knows only that somebody has come within the process,
// tells of itself in INFO: at first, and when it has answered the first ping. Here that also says that TLS is required, and where the
// client comes from. Clients ping as they connect; for one that is sent messages before, the second INFO stays as it is.
type secured struct {
	net.Conn
	log  zerolog.Logger // told of refusals, as the server does not know who comes
	from string         // the client's address
	in   *bufio.Reader  // nil once there is nothing more to change
	rest []byte         // of what was read
}

func newSecured(inside net.Conn, from string, log zerolog.Logger) *secured {
	return &secured{Conn: inside, log: log, from: from, in: bufio.NewReaderSize(inside, lineBuffer)}
}

// Read reads one line at a time as long as there may be one to change.
func (s *secured) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.in == nil {
			return s.Conn.Read(b)
		}
		if err := s.line(); err != nil {
			return 0, err
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// line reads the next line into rest. Behind the last one that matters comes what was read with it.
func (s *secured) line() error {
	line, err := s.in.ReadSlice('\n')
	if err != nil && len(line) == 0 {
		return err
	}
	more := err == nil
	switch {
	case bytes.HasPrefix(line, []byte(info)):
		more = more && !bytes.Contains(line, []byte(`"connect_info":true`))
		line = append(s.told(), line[len(info):]...)
	case bytes.HasPrefix(line, []byte("-ERR ")):
		s.log.Warn().Str("from", s.from).Bytes("nats", bytes.TrimSpace(line)).Msg("the NATS server ends a client's connection")
	case !bytes.HasPrefix(line, []byte("PING")) && !bytes.HasPrefix(line, []byte("PONG")) && !bytes.HasPrefix(line, []byte("+OK")):
		more = false
	}
	s.rest = line
	if !more {
		behind, _ := s.in.Peek(s.in.Buffered())
		s.rest = append(bytes.Clone(line), behind...)
		s.in = nil
	}
	return nil
}

// told is what INFO begins with.
func (s *secured) told() []byte {
	text := []byte(info + `"tls_required":true,`)
	if ip, err := netip.ParseAddr(s.from); err == nil {
		text = fmt.Appendf(text, `"client_ip":%q,`, ip.WithZone(""))
	}
	return text
}
