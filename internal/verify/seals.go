package verify

import (
	"context"

	"waybill/internal/journal"
	"waybill/subjects"
)

// readSeals reads what the store sealed. They are few: one for about a thousand events.
func (c *check) readSeals(ctx context.Context) error {
	if c.src.Seals == nil {
		return nil
	}
	var seals []journal.Seal
	if err := pages(ctx, c.src.Seals, func(s subjects.Seal) { seals = append(seals, journal.Seal(s)) }); err != nil {
		return err
	}
	c.seals, c.sealed = journal.NewSealCheck(seals), len(seals) > 0
	return nil
}

func (c *check) sealsHold() {
	if !c.sealed {
		return
	}
	for _, v := range c.seals.Violations() {
		c.violation(RuleSeal, subjects.StreamJournal, 0, "%s", v)
	}
}
