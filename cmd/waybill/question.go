package main

import (
	"context"

	"github.com/spf13/cobra"

	"waybill/client"
)

// question is a command that asks the site something and shows the answer.
type question[T any] struct {
	use, short, long, example string
	args                      cobra.PositionalArgs      // no arguments where it is nil
	prepare                   func(args []string) error // reads flags and arguments before anything is connected; may be nil
	ask                       func(ctx context.Context, c *client.Client, args []string) (T, error)
	show                      func(s *sheet, answer T)
}

// command makes the cobra command. Flags of its own are added to what it returns.
func (q question[T]) command(p *program) *cobra.Command {
	args := q.args
	if args == nil {
		args = exactly()
	}
	c := &cobra.Command{Use: q.use, Short: q.short, Long: q.long, Example: q.example, Args: args}
	x := p.connectionFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := x.settle(c); err != nil {
			return err
		}
		if q.prepare != nil {
			if err := q.prepare(args); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(c.Context(), x.timeout)
		defer cancel()
		asked, err := x.open(ctx)
		if err != nil {
			return err
		}
		defer asked.Close()
		answer, err := q.ask(ctx, asked, args)
		if err != nil {
			return err
		}
		return x.print(answer, func(s *sheet) { q.show(s, answer) })
	}
	return c
}

// print writes an answer in the form that was asked for.
func (x *connection) print(answer any, show func(*sheet)) error {
	if x.output == asJSON {
		return x.p.printJSON(answer)
	}
	s := x.p.sheet()
	show(s)
	return s.err
}

// stream is a command that shows what comes, for as long as it comes. Only connecting and each call have a time limit.
type stream struct {
	use, short, long, example string
	args                      cobra.PositionalArgs
	run                       func(ctx context.Context, c *client.Client, x *connection, args []string) error
}

func (q stream) command(p *program) *cobra.Command {
	args := q.args
	if args == nil {
		args = exactly()
	}
	c := &cobra.Command{Use: q.use, Short: q.short, Long: q.long, Example: q.example, Args: args}
	x := p.connectionFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := x.settle(c); err != nil {
			return err
		}
		asked, err := x.open(c.Context())
		if err != nil {
			return err
		}
		defer asked.Close()
		err = q.run(c.Context(), asked, x, args)
		if c.Context().Err() != nil {
			return nil // the person at the keyboard has seen enough
		}
		return err
	}
	return c
}
