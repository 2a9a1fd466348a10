package verify

import (
	"context"

	"waybill/internal/fault"
)

// pages calls fn with every item of a list, page by page.
func pages[T any](ctx context.Context, page func(ctx context.Context, cursor string) ([]T, string, error), fn func(T)) error {
	for cursor := ""; ; {
		items, next, err := page(ctx, cursor)
		if err != nil {
			return err
		}
		for _, item := range items {
			fn(item)
		}
		if next == "" {
			return nil
		}
		if next == cursor {
			return fault.New(fault.Internal, "a list goes on for ever at the cursor %.40q", cursor)
		}
		cursor = next
	}
}
