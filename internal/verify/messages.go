package verify

import (
	"context"

	"waybill/subjects"
)

// readMessages checks the headers that are the same for every event, on the messages as the store has them.
func (c *check) readMessages(ctx context.Context) error {
	if c.src.Messages == nil {
		return nil
	}
	const page = 500
	for from := uint64(1); from <= c.report.Last; {
		found, err := c.src.Messages(ctx, from, page)
		if err != nil {
			return err
		}
		for _, m := range found {
			if m.Sequence > c.report.Last {
				return nil
			}
			for _, h := range []struct{ name, want string }{
				{subjects.HeaderSpecVersion, "1.0"},
				{subjects.HeaderSource, subjects.Source(c.site)},
				{subjects.HeaderMsgID, m.Header.Get(subjects.HeaderID)},
			} {
				if got := m.Header.Get(h.name); got != h.want {
					c.violation(RuleEnvelope, m.Subject, m.Sequence, "the header %s is %.80q, not %.80q", h.name, got, h.want)
				}
			}
		}
		if len(found) == 0 {
			return nil
		}
		from = found[len(found)-1].Sequence + 1
	}
	return nil
}
