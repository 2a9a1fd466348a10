package rpc

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/subjects"
)

// Bounds of an error's message, in bytes: in the header, and in the body.
const (
	maxErrorHeader = 500
	maxErrorBody   = 32 << 10
)

// wireError is the body of a failure.
type wireError struct {
	Error struct {
		Code      fault.Code `json:"code"`
		Message   string     `json:"message"`
		Retryable bool       `json:"retryable"`
		Field     string     `json:"field,omitempty"`
	} `json:"error"`
}

// respond sends the encoded reply, or the error in its place. It is the only layer that writes to the connection.
func respond(bus lean.Bus, limit func() int, log zerolog.Logger) middleware {
	return func(next invoke) invoke {
		return func(ctx context.Context, x *exchange) error {
			err := next(ctx, x)
			if n := x.incoming.Call(); n >= 0 {
				x.header.SetInt(lean.CallHeader, int64(n))
			}
			if ms := x.outside.Milliseconds(); ms > 0 {
				x.header.SetInt(subjects.HeaderOutside, ms)
			}
			if err == nil {
				x.header.Set(subjects.HeaderDurability, x.durability)
				x.header.SetInt(subjects.HeaderSequence, int64(x.sequence))
			} else if failed := x.fail(fault.From(err), limit()); failed != nil {
				log.Error().Err(failed).Str("subject", x.endpoint.subject).Msg("an error could not be encoded")
				return err
			}
			send := bus.Publish
			if x.later {
				send = bus.Later
			}
			if failed := x.incoming.Answer(x.header.Header(), x.body.Bytes(), send); failed != nil {
				log.Warn().Err(failed).Str("subject", x.endpoint.subject).Msg("a reply could not be sent; its caller will ask again or run into its timeout")
			}
			return err
		}
	}
}

// fail writes f where the reply would stand, in at most limit bytes where a short message can do so. It never fails for
// text, which it makes valid.
func (x *exchange) fail(f *fault.Error, limit int) error {
	var w wireError
	w.Error.Code = f.Code
	w.Error.Message = cut(strings.ToValidUTF8(f.Message, "\uFFFD"), maxErrorBody)
	w.Error.Retryable = f.Code.Retryable()
	w.Error.Field = cut(strings.ToValidUTF8(f.Field, "\uFFFD"), maxErrorHeader)
	x.body.Reset()
	err := encodeTo(&x.body, &w)
	if err == nil && x.body.Len() > limit {
		w.Error.Message = cut(w.Error.Message, maxErrorHeader)
		x.body.Reset()
		err = encodeTo(&x.body, &w)
	}
	if err != nil {
		return err
	}
	x.header.Set(subjects.HeaderErrorCode, string(f.Code))
	x.header.Set(subjects.HeaderError, oneLine(w.Error.Message))
	if x.sequence > 0 { // the refusal rests on it too
		x.header.Set(subjects.HeaderSequence, strconv.FormatUint(x.sequence, 10))
	}
	return nil
}

// oneLine makes a message fit for a header: no control characters, at most maxErrorHeader bytes, never empty.
func oneLine(s string) string {
	s = cut(s, maxErrorHeader) // first, because what follows costs by length and never lengthens
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s))
	if s == "" {
		return "no message"
	}
	return s
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
