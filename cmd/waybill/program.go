package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// program is one run of the command line: what it reads and writes, and the environment that it was started in.
type program struct {
	in       io.Reader
	out, err io.Writer
	env      map[string]string
	environ  []string

	outTerminal, errTerminal, inTerminal bool
}

func newProgram(in io.Reader, out, err io.Writer, environ []string) *program {
	p := &program{in: in, out: out, err: err, environ: environ, env: make(map[string]string, len(environ)),
		inTerminal: terminal(in), outTerminal: terminal(out), errTerminal: terminal(err)}
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			p.env[name] = value
		}
	}
	return p
}

// terminal reports whether a stream is a person's screen or keyboard.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

// colour reports whether the output may be coloured: on a terminal that can, unless NO_COLOR (no-color.org) is set.
func (p *program) colour() bool {
	return p.outTerminal && p.env["NO_COLOR"] == "" && p.env["TERM"] != "dumb"
}

// run carries out the command that args name and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean the process's own
	command, err := root.ExecuteContextC(ctx)
	return p.report(command, err)
}

func (p *program) root() *cobra.Command {
	root := group("waybill", "An order system for the edge in one program",
		"Waybill takes orders, holds stock, takes payment, ships, and tells the customer. `waybill serve` runs a site; the other\n"+
			"commands talk to one that runs. `waybill demo` shows all of it in a few seconds.",
		`  waybill demo
  waybill serve --data ./site
  waybill catalog put espresso --name Espresso --price "2.50 EUR" --tax 19%
  waybill stock receive espresso 100
  waybill order place --customer c-1 --line espresso=2 --pickup --cash`)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	root.AddGroup(&cobra.Group{ID: groupSite, Title: "Run a site:"}, &cobra.Group{ID: groupTrade, Title: "Trade:"},
		&cobra.Group{ID: groupCare, Title: "Look after a site:"})
	add := func(groupID string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = groupID
			root.AddCommand(c)
		}
	}
	add(groupSite, p.serve(), p.demo())
	add(groupTrade, p.order(), p.catalog(), p.stock(), p.payment(), p.shipment())
	add(groupCare, p.config(), p.health(), p.services(), p.events(), p.dead(), p.notification(), p.webhook(), p.customer(), p.call(),
		p.verify(), p.rebuild(), p.bench())
	root.AddCommand(p.version())
	return root
}

// The sections of the root's help.
const (
	groupSite  = "site"
	groupTrade = "trade"
	groupCare  = "care"
)

// group is a command that does nothing but hold others.
func group(use, short, long, example string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return unknownCommand(c, args[0])
		},
	}
	c.AddCommand(commands...)
	return c
}

func unknownCommand(c *cobra.Command, name string) error {
	if near := c.SuggestionsFor(name); len(near) > 0 {
		return usage("%s has no command %q; did you mean %s?", c.CommandPath(), name, strings.Join(near, " or "))
	}
	return usage("%s has no command %q", c.CommandPath(), name)
}
