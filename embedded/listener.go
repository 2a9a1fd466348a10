package embedded

import (
	"net"
	"net/netip"
	"strconv"

	"waybill/internal/fault"
)

// CheckListener tells whether a listener may open on addr (host:port). One that others than this machine can reach needs
// both credentials and TLS. Errors: invalid_argument for what is no address; failed_precondition, naming the address and
// what is missing, for one that must not open.
func CheckListener(addr string, tls, creds bool) error {
	host, _, err := splitAddr(addr)
	if err != nil {
		return err
	}
	if loopback(host) || tls && creds {
		return nil
	}
	missing := "credentials and TLS (tls_cert, tls_key)"
	switch {
	case tls:
		missing = "credentials"
	case creds:
		missing = "TLS (tls_cert, tls_key)"
	}
	return fault.New(fault.FailedPrecondition,
		"the address %s can be reached from other machines, so it needs %s: set them, or listen on 127.0.0.1", addr, missing)
}

// Loopback reports whether addr (host:port) can be reached from this machine alone.
func Loopback(addr string) bool {
	host, _, err := splitAddr(addr)
	return err == nil && loopback(host)
}

// loopback takes an empty host for what it is: every interface. Of names it trusts only localhost, which no resolver may
// point elsewhere.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fault.Invalid("addr", "%q is not an address such as 127.0.0.1:4222", addr)
	}
	return host, port, nil
}
