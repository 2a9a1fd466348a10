package journal

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/lean"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Version is the highest version of an event's body that this program knows.
const Version = 1

// Record is one event as it stands in the journal. It is a value; Data and State are not to be changed.
type Record struct {
	Subject      string
	Sequence     uint64 // position in the journal, from 1
	ID           string // ce-id
	Type         string // ce-type, such as waybill.order.placed.v1
	CeSubject    string // the aggregate's id
	Time         timestamp.Time
	Causation    string // id of the request or event that caused this one; empty where none is known
	Traceparent  string // W3C trace context; empty where none came
	PreviousID   string // ce-id of the aggregate's event before this one; empty for its first
	PreviousHash string // that event's Hash
	Hash         string // of this event, see Hash
	Version      int    // of the body; above Version it was written by a newer program
	Data, State  jsontext.Value

	// Malformed says why the event can't be read and is empty for every sound one. Such an event has no Data, State and
	// Version; readers go past it, so that one bad event doesn't stop them for ever.
	Malformed string
}

// Event is the kind and name of the event, as in KindOrder and "placed"; both are empty for a type that is not this program's.
func (r Record) Event() (kind subjects.Kind, event string) {
	kind, event, _ = subjects.ParseType(r.Type)
	return kind, event
}

// Follows reports whether r names previous as the aggregate's event before it. The zero Record comes before the first event.
func (r Record) Follows(previous Record) bool {
	return r.PreviousID == previous.ID && r.PreviousHash == previous.Hash
}

// previous is the header that names r as the event before another one.
func (r Record) previous() string {
	if r.ID == "" {
		return ""
	}
	return r.ID + " " + r.Hash
}

// Hash is the fingerprint of an event: the first 16 bytes of the SHA-256, in lowercase hexadecimal, of ce-id, ce-type, ce-time,
// the NATS subject, Waybill-Previous (empty for the first event) and the body, in this order and each as it is on the wire,
// each preceded by its length in bytes as a big-endian uint32.
func Hash(id, ceType, ceTime, subject, previous string, body []byte) string {
	return hashOf(id, ceType, ceTime, subject, previous, body)
}

// hashOf is Hash for headers as they are at hand.
func hashOf[T string | []byte](id, ceType, ceTime T, subject string, previous T, body []byte) string {
	buffer := hashBuffers.Get().(*[]byte)
	b := appendHashed(appendHashed(appendHashed((*buffer)[:0], id), ceType), ceTime)
	b = appendHashed(appendHashed(appendHashed(b, subject), previous), body)
	sum := sha256.Sum256(b)
	*buffer = b
	hashBuffers.Put(buffer)
	return hex.EncodeToString(sum[:16])
}

func appendHashed[T string | []byte](b []byte, part T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
}

// hashBuffers are reused: every event is hashed, by its writer and by each of its readers.
var hashBuffers = sync.Pool{New: func() any { return new([]byte) }}

// body is the wire form of an event's payload, {"v":1,"data":…,"state":…}. Fields that it doesn't know are ignored.
type body struct {
	V           int
	Data, State jsontext.Value
}

// What stands before the two parts of a body.
const (
	beforeData  = `{"v":1,"data":`
	beforeState = `,"state":`
)

// encodeBody writes an event's payload and returns its two parts too, which share its memory; maps are written in the order of
// their keys, so that the same event is the same bytes.
func encodeBody(data, state any) (payload []byte, d, s jsontext.Value, err error) {
	b := bodyBuffers.Get().(*bytes.Buffer)
	defer bodyBuffers.Put(b)
	b.Reset()
	b.WriteString(beforeData)
	from := b.Len()
	if err = quick.Write(b, data, json.Deterministic(true)); err != nil {
		return nil, nil, nil, err
	}
	to := b.Len()
	b.WriteString(beforeState)
	stateFrom := b.Len()
	if err = quick.Write(b, state, json.Deterministic(true)); err != nil {
		return nil, nil, nil, err
	}
	b.WriteByte('}')
	payload = bytes.Clone(b.Bytes())
	end := len(payload) - 1
	return payload, jsontext.Value(payload[from:to:to]), jsontext.Value(payload[stateFrom:end:end]), nil
}

var bodyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// decodeBody reads a payload; the parts share its memory.
func decodeBody(payload []byte) (b body, err error) {
	if b, ok := plainBody(payload); ok {
		return b, nil
	}
	return anyBody(payload)
}

// anyBody reads a payload whatever its form.
func anyBody(payload []byte) (b body, err error) {
	d := bodyDecoders.Get().(*bodyDecoder)
	defer d.release()
	d.source = *bytes.NewBuffer(payload)
	d.Reset(&d.source)
	// It is the decoder that refuses a name given twice, and what is not UTF-8.
	if t, err := d.ReadToken(); err != nil || t.Kind() != jsontext.KindBeginObject {
		return body{}, cmp.Or(err, errNoObject)
	}
	for d.PeekKind() != jsontext.KindEndObject {
		t, err := d.ReadToken()
		if err != nil {
			return body{}, err
		}
		name := t.String()
		value, err := d.ReadValue()
		if err != nil {
			return body{}, err
		}
		end := int(d.InputOffset())
		value = payload[end-len(value) : end : end]
		switch name {
		case "v":
			if b.V = 1; string(value) != "1" {
				if err := json.Unmarshal(value, &b.V); err != nil {
					return body{}, err
				}
			}
		case "data":
			b.Data = value
		case "state":
			b.State = value
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return body{}, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return body{}, cmp.Or(err, errNoObject)
	}
	return b, nil
}

// plainBody reads a payload as encodeBody writes most of them; ok is false for any other, which may be good, too.
func plainBody(payload []byte) (b body, ok bool) {
	rest, ok := bytes.CutPrefix(payload, []byte(beforeData))
	if !ok {
		return body{}, false
	}
	n := quick.Skip(rest)
	b.V, b.Data = 1, rest[:n:n]
	if rest, ok = bytes.CutPrefix(rest[n:], []byte(beforeState)); !ok || n == 0 {
		return body{}, false
	}
	n = quick.Skip(rest)
	b.State = rest[:n:n]
	return b, n > 0 && string(rest[n:]) == "}"
}

var errNoObject = errors.New("it is not one JSON object")

// bodyDecoder is a decoder with what it reads from; they are used again.
type bodyDecoder struct {
	jsontext.Decoder
	source bytes.Buffer
}

var bodyDecoders = sync.Pool{New: func() any { return new(bodyDecoder) }}

func (d *bodyDecoder) release() {
	d.source = bytes.Buffer{} // what was read is its reader's
	d.Reset(&d.source)
	bodyDecoders.Put(d)
}

// ID is the event's ce-id; empty where it has none.
func (m Message) ID() string { return m.Header.Get(subjects.HeaderID) }

// Hash is the event's Hash.
func (m Message) Hash() string {
	if m.hash != "" {
		return m.hash
	}
	return hashOf(m.field(subjects.HeaderID), m.field(subjects.HeaderType), m.field(subjects.HeaderTime), m.Subject, m.field(subjects.HeaderPrevious), m.Data)
}

// field is a header, without a copy where that can be: every event is read several times.
func (m Message) field(name string) []byte {
	if h, ok := m.Header.(lean.Header); ok {
		return h.Value(name)
	}
	return []byte(m.Header.Get(name))
}

// State is the aggregate after the event: what a projection needs of it. Error: internal for an event that can't be read.
func (m Message) State() (jsontext.Value, error) {
	if m.state != nil {
		return m.state, nil
	}
	_, b, malformed := m.parse()
	if malformed != "" {
		return nil, unreadable(m.Sequence, malformed)
	}
	return b.State, nil
}

// parse reads what may be malformed, and says why it is.
func (m Message) parse() (at timestamp.Time, b body, malformed string) {
	h := m.Header
	at, err := timestamp.Parse(h.Get(subjects.HeaderTime))
	if err != nil {
		return at, body{}, "ce-time: " + err.Error()
	}
	if b, err = decodeBody(m.Data); err != nil {
		return at, body{}, "body: " + err.Error()
	}
	if len(m.field(subjects.HeaderID)) == 0 || len(m.field(subjects.HeaderType)) == 0 || b.V < 1 {
		return at, body{}, "ce-id, ce-type or v is missing"
	}
	return at, b, ""
}

// decode turns a stored message into a Record. It never fails: what can't be read is marked Malformed.
func decode(m Message) Record {
	h := m.Header
	r := Record{
		Subject:     m.Subject,
		Sequence:    m.Sequence,
		ID:          m.ID(),
		Type:        h.Get(subjects.HeaderType),
		CeSubject:   h.Get(subjects.HeaderSubject),
		Causation:   h.Get(subjects.HeaderCausation),
		Traceparent: h.Get(subjects.HeaderTraceparent),
		Hash:        m.Hash(),
	}
	r.PreviousID, r.PreviousHash, _ = strings.Cut(h.Get(subjects.HeaderPrevious), " ")
	var b body
	r.Time, b, r.Malformed = m.parse()
	r.Version, r.Data, r.State = b.V, b.Data, b.State
	return r
}
