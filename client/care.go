package client

import (
	"context"

	"waybill/internal/id"
	"waybill/subjects"
)

// Notifications are the methods of the notification service.
type Notifications struct{ c *Client }

// List returns a page of notifications, newest first.
func (s Notifications) List(ctx context.Context, r subjects.ListNotificationsRequest) (*subjects.Notifications, error) {
	return Call(ctx, s.c, subjects.NotificationList, &r)
}

// Redeliver sends a notification again. It is asked once. Errors: not_found, failed_precondition.
func (s Notifications) Redeliver(ctx context.Context, n id.Notification) (*subjects.NotificationInfo, error) {
	return Call(ctx, s.c, subjects.NotificationRedeliver, &subjects.NotificationRequest{NotificationID: n})
}

// Webhooks are the methods of the webhook service.
type Webhooks struct{ c *Client }

// Put makes or replaces a webhook. Without a secret in the request the site makes one, which stands only in this reply; such
// a request is asked once.
func (s Webhooks) Put(ctx context.Context, r subjects.PutWebhookRequest) (*subjects.WebhookInfo, error) {
	return Call(ctx, s.c, subjects.WebhookPut, &r)
}

// Get returns a webhook without its secret. Errors: not_found.
func (s Webhooks) Get(ctx context.Context, w id.Webhook) (*subjects.WebhookInfo, error) {
	return Call(ctx, s.c, subjects.WebhookGet, &subjects.WebhookRequest{WebhookID: w})
}

// List returns a page of the webhooks, by id.
func (s Webhooks) List(ctx context.Context, p subjects.Page) (*subjects.Webhooks, error) {
	return Call(ctx, s.c, subjects.WebhookList, &subjects.ListRequest{Page: p})
}

// Delete removes a webhook. Errors: not_found.
func (s Webhooks) Delete(ctx context.Context, w id.Webhook) (*subjects.WebhookInfo, error) {
	return Call(ctx, s.c, subjects.WebhookDelete, &subjects.WebhookRequest{WebhookID: w})
}

// Health are the methods of the site's health.
type Health struct{ c *Client }

// List returns what etcd holds of the site's instances and leaders.
func (s Health) List(ctx context.Context) (*subjects.HealthInfo, error) {
	return Call(ctx, s.c, subjects.HealthList, &subjects.Empty{})
}

// Dead are the methods of the dead letters: messages that a consumer gave up.
type Dead struct{ c *Client }

// List returns a page of the dead letters, oldest first.
func (s Dead) List(ctx context.Context, p subjects.Page) (*subjects.DeadLetters, error) {
	return Call(ctx, s.c, subjects.DeadList, &subjects.ListRequest{Page: p})
}

// Get returns a dead letter with its data. Errors: not_found.
func (s Dead) Get(ctx context.Context, letter uint64) (*subjects.DeadInfo, error) {
	return Call(ctx, s.c, subjects.DeadGet, &subjects.DeadRequest{ID: letter})
}

// Redrive has a dead letter handled again, and removes it when that went well. It is asked once. Errors: not_found, and what
// its handler answers.
func (s Dead) Redrive(ctx context.Context, letter uint64) (*subjects.DeadInfo, error) {
	return Call(ctx, s.c, subjects.DeadRedrive, &subjects.DeadRequest{ID: letter})
}

// Discard removes a dead letter. It is asked once. Errors: not_found.
func (s Dead) Discard(ctx context.Context, letter uint64) (*subjects.DeadInfo, error) {
	return Call(ctx, s.c, subjects.DeadDiscard, &subjects.DeadRequest{ID: letter})
}

// Customers are the methods that concern a customer.
type Customers struct{ c *Client }

// Erase makes a customer's personal data unreadable, for good.
func (s Customers) Erase(ctx context.Context, customer id.Customer) (*subjects.Erased, error) {
	return Call(ctx, s.c, subjects.CustomerErase, &subjects.EraseRequest{CustomerID: customer})
}

// Journal are the methods of the journal's keeper.
type Journal struct{ c *Client }

// Seals returns a page of the store's seals over the journal, oldest first.
func (s Journal) Seals(ctx context.Context, p subjects.Page) (*subjects.Seals, error) {
	return Call(ctx, s.c, subjects.JournalSeals, &subjects.ListRequest{Page: p})
}

// View says how far the answering process's read models have come.
func (s Journal) View(ctx context.Context) (*subjects.ViewState, error) {
	return Call(ctx, s.c, subjects.JournalView, &subjects.Empty{})
}

// Rebuild has the answering process throw its read models away and build them anew. It returns as soon as that has begun.
func (s Journal) Rebuild(ctx context.Context) (*subjects.ViewState, error) {
	return Call(ctx, s.c, subjects.JournalRebuild, &subjects.Empty{})
}
