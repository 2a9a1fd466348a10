package handlers

import (
	"context"
	"slices"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/rpc"
	"waybill/internal/vault"
	"waybill/subjects"
)

// Webhooks keeps who wants to be told of which events. The secret that signs what is sent to them is sealed; it is shown once.
type Webhooks struct {
	vault *vault.Vault
	lists *Lists
	clock Clock
	hooks machine[webhook, webhook, *webhook]
}

// webhook is a webhook's state, as the journal has it.
type webhook struct {
	WebhookID id.Webhook    `json:"webhook_id"`
	URL       string        `json:"url"`
	Events    []string      `json:"events"`
	Secret    []byte        `json:"secret"` // sealed
	CreatedAt subjects.Time `json:"created_at"`
	UpdatedAt subjects.Time `json:"updated_at"`
	Deleted   bool          `json:"deleted,omitzero"`
}

func (w webhook) info() *subjects.WebhookInfo {
	return &subjects.WebhookInfo{WebhookID: w.WebhookID, URL: w.URL, Events: w.Events, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt}
}

// WebhooksDeps is what the webhook service uses.
type WebhooksDeps struct {
	Journal *journal.Journal
	Vault   *vault.Vault
	Lists   *Lists
	Site    subjects.Site
	Clock   Clock
	Log     zerolog.Logger
	Hook    Hook
}

// NewWebhooks makes the service.
func NewWebhooks(d WebhooksDeps) *Webhooks {
	return &Webhooks{vault: d.Vault, lists: d.Lists, clock: d.Clock, hooks: machine[webhook, webhook, *webhook]{
		journal: d.Journal, clock: d.Clock, site: d.Site, kind: subjects.KindWebhook, hook: d.Hook, log: d.Log,
		decide: func(is, want webhook) (*webhook, error) {
			same := is.WebhookID == want.WebhookID && is.Deleted == want.Deleted && is.URL == want.URL &&
				slices.Equal(is.Events, want.Events) && slices.Equal(is.Secret, want.Secret)
			if same {
				return nil, nil
			}
			return &want, nil
		},
		apply: func(_ webhook, e *webhook) (webhook, error) { return *e, nil },
		name: func(e *webhook) string {
			switch {
			case e == nil:
				return ""
			case e.Deleted:
				return "deleted"
			}
			return "put"
		},
	}}
}

// Register lists the service's endpoints.
func (w *Webhooks) Register(s *rpc.Server) {
	rpc.Handle(s, subjects.WebhookPut, w.put)
	rpc.Handle(s, subjects.WebhookGet, w.get)
	rpc.Handle(s, subjects.WebhookList, w.list)
	rpc.Handle(s, subjects.WebhookDelete, w.remove)
}

// put makes or replaces a webhook. A replaced one keeps its secret unless a new one is given.
func (w *Webhooks) put(ctx context.Context, r *subjects.PutWebhookRequest) (*subjects.WebhookInfo, error) {
	secret := r.Secret
	fresh := "" // the secret of the reply: only where this request makes one
	h, err := w.hooks.command(ctx, string(r.WebhookID), func(h held[webhook]) webhook {
		now := w.clock.now()
		want := webhook{WebhookID: r.WebhookID, URL: r.URL, Events: r.Events, Secret: h.state.Secret, CreatedAt: h.state.CreatedAt, UpdatedAt: now}
		alive := h.exists() && !h.state.Deleted
		if !alive {
			want.CreatedAt = now
			if secret == "" {
				secret = id.New()
			}
		}
		fresh = ""
		if known, err := w.vault.OpenToken(string(r.WebhookID), h.state.Secret); !alive || err != nil || (secret != "" && secret != known) {
			if secret == "" {
				secret = id.New()
			}
			want.Secret, fresh = w.vault.SealToken(string(r.WebhookID), secret), secret
		}
		return want
	})
	if err != nil {
		return nil, err
	}
	out := h.state.info()
	out.Secret = fresh
	return out, nil
}

func (w *Webhooks) find(ctx context.Context, hook id.Webhook) (held[webhook], error) {
	h, err := w.hooks.load(ctx, string(hook))
	if err == nil && (!h.exists() || h.state.Deleted) {
		err = fault.New(fault.NotFound, "there is no webhook %s", hook).WithField("webhook_id")
	}
	return h, err
}

func (w *Webhooks) get(ctx context.Context, r *subjects.WebhookRequest) (*subjects.WebhookInfo, error) {
	h, err := w.find(ctx, r.WebhookID)
	if err != nil {
		return nil, err
	}
	return h.state.info(), nil
}

func (w *Webhooks) list(ctx context.Context, r *subjects.ListRequest) (*subjects.Webhooks, error) {
	v, err := w.lists.fresh(ctx)
	if err != nil {
		return nil, err
	}
	rows, next, err := v.Webhooks(ctx, r.Size(), r.Cursor)
	if err != nil {
		return nil, err
	}
	states, err := decodeAll[webhook](rows)
	if err != nil {
		return nil, err
	}
	out := &subjects.Webhooks{Webhooks: make([]subjects.WebhookInfo, len(states)), NextCursor: next}
	for i, s := range states {
		out.Webhooks[i] = *s.info()
	}
	return out, nil
}

// remove leaves the webhook's last state in the journal, without its secret.
func (w *Webhooks) remove(ctx context.Context, r *subjects.WebhookRequest) (*subjects.WebhookInfo, error) {
	if _, err := w.find(ctx, r.WebhookID); err != nil {
		return nil, err
	}
	h, err := w.hooks.command(ctx, string(r.WebhookID), func(h held[webhook]) webhook {
		gone := h.state
		gone.Deleted, gone.Secret = true, nil
		if !h.state.Deleted {
			gone.UpdatedAt = w.clock.now()
		}
		return gone
	})
	if err != nil {
		return nil, err
	}
	return h.state.info(), nil
}
