package lean

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// Headers are what came with a message. A Header and a nats.Header are such.
type Headers interface {
	// Get returns the first value of the name, which is compared as it is; empty where there is none.
	Get(name string) string
}

// Header is a block of headers as it stands on the wire: "NATS/1.0", an optional status, and a line for each header, all ended
// by an empty line. The nil Header is none.
type Header []byte

const (
	headerLine = "NATS/1.0"
	crlf       = "\r\n"
)

// Get implements Headers. Its cost is that of reading the block up to the header.
func (h Header) Get(name string) string { return string(h.Value(name)) }

// Value is Get without a copy: a part of the block; nil where there is none.
func (h Header) Value(name string) []byte {
	rest := []byte(h)
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return nil
		}
		if rest = rest[end+1:]; len(rest) > len(name) && rest[len(name)] == ':' && string(rest[:len(name)]) == name {
			value := rest[len(name)+1:]
			if end := bytes.IndexByte(value, '\r'); end >= 0 {
				value = value[:end]
			}
			return bytes.TrimLeft(value, " \t")
		}
	}
}

// call is the CallHeader; -1 where there is none.
func (h Header) call() int {
	if n, ok := Decimal(h.Value(CallHeader)); ok {
		return n
	}
	return -1
}

// Status is the code in the first line, such as 503; empty where there is none.
func (h Header) Status() string {
	if len(h) < len(headerLine)+4 || h[len(headerLine)] != ' ' {
		return ""
	}
	return string(h[len(headerLine)+1 : len(headerLine)+4])
}

// Description is the text behind the status in the first line.
func (h Header) Description() string {
	if h.Status() == "" {
		return ""
	}
	line, _, _ := bytes.Cut(h[len(headerLine)+4:], []byte(crlf))
	return string(bytes.TrimSpace(line))
}

// Builder makes a Header. Its memory may be used again after the Header was sent.
type Builder struct{ b []byte }

// Reset begins a new Header in the same memory.
func (b *Builder) Reset() { b.b = b.b[:0] }

// Grow makes room for n bytes.
func (b *Builder) Grow(n int) { b.b = slices.Grow(b.b, n) }

// Set adds a header, unless the value is empty. Line breaks in the value become spaces, so that no value adds a header.
func (b *Builder) Set(name, value string) {
	if value == "" {
		return
	}
	if len(b.b) == 0 {
		b.b = append(b.b, headerLine+crlf...)
	}
	b.b = append(append(b.b, name...), ": "...)
	if strings.ContainsAny(value, crlf) {
		value = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	b.b = append(append(b.b, value...), crlf...)
}

// SetInt is Set for a number.
func (b *Builder) SetInt(name string, n int64) {
	b.Set(name, "0")
	end := len("0" + crlf)
	b.b = append(strconv.AppendInt(b.b[:len(b.b)-end], n, 10), crlf...)
}

// Len is the bytes that the Header takes so far.
func (b *Builder) Len() int { return len(b.b) }

// Header ends the block and returns it; nil where nothing was set. It is good until the next Reset.
func (b *Builder) Header() Header {
	if len(b.b) == 0 {
		return nil
	}
	b.b = append(b.b, crlf...)
	return b.b
}

// parse is the block as nats.go has it.
func (h Header) parse() nats.Header {
	if len(h) == 0 {
		return nil
	}
	out := make(nats.Header)
	h.parseInto(out, nil)
	return out
}

// parseInto adds the headers to out. Their values are appended to one list, of which each name has its part.
func (h Header) parseInto(out nats.Header, values []string) []string {
	_, lines, _ := strings.Cut(string(h), crlf)
	values = slices.Grow(values, strings.Count(lines, crlf))
	for line := range strings.SplitSeq(lines, crlf) {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimLeft(value, " \t")
		if before, again := out[name]; again {
			out[name] = append(before, value)
			continue
		}
		values = append(values, value)
		out[name] = values[len(values)-1 : len(values) : len(values)]
	}
	return values
}

// Parsed is h as nats.go has headers, for who changes them. It may be h itself.
func Parsed(h Headers) nats.Header {
	switch h := h.(type) {
	case Header:
		return h.parse()
	case nats.Header:
		return h
	}
	return nil
}
