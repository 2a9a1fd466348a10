package main

import (
	"context"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/fault"
	"waybill/internal/id"
)

func (p *program) call() *cobra.Command {
	var request []byte
	return question[jsontext.Value]{
		use: "call SERVICE.METHOD [JSON|-]", short: "Ask any method, with JSON as it is",
		long:    "Sends a JSON object ({} without one, the standard input for -) to a method and prints the reply. It asks once.",
		example: `  waybill call order.get '{"order_id":"o-1"}'` + "\n  waybill call order.place - < order.json",
		args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("SERVICE.METHOD is missing")
			}
			if len(args) > 2 {
				return usage("%q is one argument too many; put the JSON in quotes", args[2])
			}
			if service, method, ok := strings.Cut(args[0], "."); !ok || !id.Valid(service, id.MaxChosen) || !id.Valid(method, id.MaxChosen) {
				return usage("%.60q is not a method such as order.get", args[0])
			}
			return nil
		},
		prepare: func(args []string) (err error) {
			switch {
			case len(args) == 1:
				request = []byte("{}")
			case args[1] == "-":
				request, err = p.read("-")
			default:
				request = []byte(args[1])
			}
			return err
		},
		ask: func(ctx context.Context, c *client.Client, args []string) (jsontext.Value, error) {
			reply, err := c.Raw(ctx, args[0], request)
			if err != nil {
				return nil, err
			}
			value := jsontext.Value(reply.Data)
			if !value.IsValid() {
				return nil, fault.New(fault.Internal, "%s answered with something that is not JSON", args[0])
			}
			return value, nil
		},
		show: func(s *sheet, v jsontext.Value) {
			if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
				s.err = err
				return
			}
			s.line("%s", v)
		},
	}.command(p)
}
