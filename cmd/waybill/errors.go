package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/fault"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError says that the command line itself is wrong.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errSilent fails a command that has said why already.
var errSilent = errors.New("failed; the reason was printed")

// report prints the error of a command, if it has one, and returns the exit code.
func (p *program) report(c *cobra.Command, err error) int {
	var wrong *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &wrong):
		fmt.Fprintf(p.err, "waybill: %s\nSee `%s --help`.\n", wrong.message, c.CommandPath())
		return exitUsage
	}
	fmt.Fprintln(p.err, sentence(err))
	return exitFailed
}

// sentence is what a person reads of an error: its code, its message, and what to do where the message does not say it.
func sentence(err error) string {
	var e *fault.Error
	if !errors.As(err, &e) {
		return "failed: " + err.Error()
	}
	message := e.Message
	if e.Field != "" && !strings.Contains(message, e.Field) {
		message += " (field " + e.Field + ")"
	}
	var outside *client.NotConnected
	if errors.As(err, &outside) && e.Code == fault.Unavailable {
		message = "no waybill answers at " + outside.URL + ": start one with `waybill serve`, or name another with --server"
	}
	var silence *client.NoAnswer
	if errors.As(err, &silence) && !silence.Sent && e.Code == fault.Unavailable {
		message += "; check --site and --server"
	}
	if e.Code == fault.Unauthenticated {
		message += "; name others with --creds"
	}
	return string(e.Code) + ": " + message
}

// exactly demands one argument for each of the names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usage("%s is missing", names[len(args)])
		case len(args) > len(names):
			return usage("%q is one argument too many", args[len(names)])
		}
		return nil
	}
}
