package subjects

import (
	"waybill/internal/fault"
	"waybill/internal/id"
)

// Item is what a site sells. TaxRateBP is in hundredths of a percent and is added to the price.
type Item struct {
	SKU       id.SKU `json:"sku"`
	Name      string `json:"name"`
	UnitPrice Money  `json:"unit_price"`
	TaxRateBP int64  `json:"tax_rate_bp"`
	Active    bool   `json:"active"`
}

// PutItemRequest makes or replaces an item; Active is true where it is absent.
type PutItemRequest struct {
	SKU       id.SKU `json:"sku"`
	Name      string `json:"name"`
	UnitPrice Money  `json:"unit_price"`
	TaxRateBP int64  `json:"tax_rate_bp,omitzero"`
	Active    *bool  `json:"active,omitzero"`
}

// Validate checks the request's shape.
func (r *PutItemRequest) Validate() error {
	err := first(id.Check("sku", r.SKU), text("name", r.Name, maxName, false), amount("unit_price", r.UnitPrice, 0))
	if err == nil && (r.TaxRateBP < 0 || r.TaxRateBP > MaxTaxRateBP) {
		err = fault.Invalid("tax_rate_bp", "tax_rate_bp must be 0 to %d hundredths of a percent", MaxTaxRateBP)
	}
	return err
}

// Item is the item that the request asks for.
func (r *PutItemRequest) Item() Item {
	return Item{r.SKU, r.Name, r.UnitPrice, r.TaxRateBP, r.Active == nil || *r.Active}
}

// SKURequest names an SKU.
type SKURequest struct {
	SKU id.SKU `json:"sku"`
}

// Validate checks the request's shape.
func (r *SKURequest) Validate() error { return id.Check("sku", r.SKU) }

// ListRequest asks for a page of a list that has no filters.
type ListRequest struct {
	Page
}

// Items is a page of the catalog, by SKU. NextCursor is empty on the last page.
type Items struct {
	Items      []Item `json:"items"`
	NextCursor string `json:"next_cursor"`
}

// The catalog's endpoints.
var (
	CatalogPut  = Endpoint[PutItemRequest, Item]{Service: Catalog, Method: "put", Idempotent: true, Doc: "Makes or replaces an item."}
	CatalogGet  = Endpoint[SKURequest, Item]{Service: Catalog, Method: "get", Idempotent: true, Doc: "Returns an item."}
	CatalogList = Endpoint[ListRequest, Items]{Service: Catalog, Method: "list", Idempotent: true, Doc: "Lists the items by SKU."}
)
