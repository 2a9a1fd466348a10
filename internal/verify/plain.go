package verify

import (
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
)

// claim is what a leader writes when it takes a role over.
type claim struct {
	Role     string         `json:"role"`
	Instance string         `json:"instance"`
	At       timestamp.Time `json:"at"`
}

// hook is a webhook as the journal has it, with its sealed secret.
type hook struct {
	WebhookID id.Webhook     `json:"webhook_id"`
	URL       string         `json:"url"`
	Events    []string       `json:"events"`
	Secret    []byte         `json:"secret"`
	CreatedAt timestamp.Time `json:"created_at"`
	UpdatedAt timestamp.Time `json:"updated_at"`
	Deleted   bool           `json:"deleted,omitzero"`
}

func (c *check) webhook(r journal.Record, name, event string) {
	h, clean := plain(c, r, name, func(h hook) string { return string(h.WebhookID) })
	if clean && h.Deleted != (event == "deleted") {
		c.at(r, RuleState, "the event is %s and the webhook's state says otherwise", event)
	}
}

// plain checks an event of a kind without a state machine: its data is the whole of what it is about, and so is its state.
func plain[T any](c *check, r journal.Record, name string, named func(T) string) (data T, clean bool) {
	if err := quick.Unmarshal(r.Data, &data); err != nil {
		c.at(r, RuleBody, "the data can't be read: %v", err)
		return data, false
	}
	_, clean = step(c, r, true, func() (T, error) { return data, nil }, func(*T) string { return RuleState })
	if clean && named(data) != name {
		c.at(r, RuleReference, "the event is of %.80s", named(data))
	}
	return data, clean
}
