package handlers

import (
	"context"

	"waybill/internal/id"
	"waybill/internal/rpc"
	"waybill/internal/vault"
	"waybill/subjects"
)

// Customers serves the erasure of personal data.
type Customers struct {
	vault  *vault.Vault
	forget func(id.Customer)
	sync   func(context.Context) error
}

// NewCustomers makes the service. forget has the other services of this process forget a customer's key at once (other
// processes do within 5 s); sync makes the store durable: an erasure that was answered must outlive a power cut.
func NewCustomers(v *vault.Vault, forget func(id.Customer), sync func(context.Context) error) *Customers {
	return &Customers{v, forget, sync}
}

// Register lists the service's endpoints.
func (c *Customers) Register(s *rpc.Server) { rpc.Handle(s, subjects.CustomerErase, c.erase) }

func (c *Customers) erase(ctx context.Context, r *subjects.EraseRequest) (*subjects.Erased, error) {
	existed, err := c.vault.Erase(ctx, r.CustomerID)
	if err != nil {
		return nil, err
	}
	c.forget(r.CustomerID)
	if err := c.sync(ctx); err != nil {
		return nil, err
	}
	return &subjects.Erased{CustomerID: r.CustomerID, Erased: existed}, nil
}
