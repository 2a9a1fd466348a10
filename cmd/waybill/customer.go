package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

func (p *program) customer() *cobra.Command {
	return group("customer", "See to customers' data", "", "  waybill customer erase c-1", p.customerErase())
}

func (p *program) customerErase() *cobra.Command {
	var sure bool
	c := question[*subjects.Erased]{
		use: "erase CUSTOMER", short: "Make a customer's personal data unreadable, for good",
		long: "Destroys the key that a customer's mail and postal addresses are sealed with. The orders stay; the addresses in them can't be read again\n" +
			"by anyone. On a terminal it asks first.",
		example: "  waybill customer erase c-1 --yes", args: exactly("CUSTOMER"),
		prepare: func(args []string) error {
			if sure || !p.inTerminal {
				return nil
			}
			fmt.Fprintf(p.err, "Erase the personal data of %s for good? [y/N] ", args[0])
			answer, _ := bufio.NewReader(p.in).ReadString('\n')
			if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
				return usage("nothing was erased")
			}
			return nil
		},
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Erased, error) {
			return c.Customers.Erase(ctx, id.Customer(args[0]))
		},
		show: func(s *sheet, e *subjects.Erased) {
			if e.Erased {
				s.line("the personal data of %s is erased", e.CustomerID)
			} else {
				s.line("there was no personal data of %s", e.CustomerID)
			}
		},
	}.command(p)
	c.Flags().BoolVar(&sure, "yes", false, "don't ask first")
	return c
}
