package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/subjects"
)

func (p *program) dead() *cobra.Command {
	return group("dead", "See to messages that could not be handled", "", "  waybill dead list",
		p.deadList(),
		p.deadOne("show LETTER", "Show a dead letter and its data", client.Dead.Get),
		p.deadOne("redrive LETTER", "Have a dead letter handled again", client.Dead.Redrive),
		p.deadOne("discard LETTER", "Throw a dead letter away", client.Dead.Discard))
}

func (p *program) deadList() *cobra.Command {
	var page *subjects.Page
	c := question[*subjects.DeadLetters]{
		use: "list", short: "List dead letters, oldest first", example: "  waybill dead list",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.DeadLetters, error) {
			return c.Dead.List(ctx, *page)
		},
		show: func(s *sheet, l *subjects.DeadLetters) {
			rows := make([][]string, len(l.Letters))
			for i, d := range l.Letters {
				rows[i] = []string{strconv.FormatUint(d.ID, 10), s.when(d.Time), string(d.Consumer), eventName(d.Type),
					strconv.FormatUint(d.Sequence, 10), strconv.Itoa(d.Tries), short(d.Reason, 60)}
			}
			s.table([]string{right + "letter", "time", "consumer", "event", right + "sequence", right + "tries", "reason"}, rows)
			s.more(l.NextCursor)
		},
	}.command(p)
	page = pageFlags(c.Flags())
	return c
}

func (p *program) deadOne(use, short string, call func(client.Dead, context.Context, uint64) (*subjects.DeadInfo, error)) *cobra.Command {
	var letter uint64
	verb := use[:len(use)-len(" LETTER")]
	return question[*subjects.DeadInfo]{
		use: use, short: short, example: "  waybill dead " + verb + " 1", args: exactly("LETTER"),
		prepare: func(args []string) (err error) {
			letter, err = parseNumber("the letter", args[0])
			return err
		},
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.DeadInfo, error) {
			return call(c.Dead, ctx, letter)
		},
		show: func(s *sheet, d *subjects.DeadInfo) {
			s.facts("letter", s.paint(bold, strconv.FormatUint(d.ID, 10)), "consumer", string(d.Consumer), "event", eventName(d.Type),
				"subject", d.Subject, "sequence", strconv.FormatUint(d.Sequence, 10), "tries", strconv.Itoa(d.Tries), "reason", d.Reason,
				"time", s.when(d.Time), "data", string(d.Data))
		},
	}.command(p)
}
