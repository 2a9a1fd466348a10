package main

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/configs"
	"waybill/subjects"
)

func (p *program) config() *cobra.Command {
	return group("config", "Read and change the live settings", "", "  waybill config set payment.capture on_confirm",
		p.configGet(), p.configSet(), p.configList(), p.configWatch(), p.configHistory(), p.configRollback())
}

func (p *program) configGet() *cobra.Command {
	return question[*subjects.Setting]{
		use: "get KEY", short: "Show a setting", example: "  waybill config get order.pending_timeout", args: exactly("KEY"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Setting, error) {
			return c.Config.Get(ctx, args[0])
		},
		show: showSetting,
	}.command(p)
}

func (p *program) configSet() *cobra.Command {
	var revision int64
	c := question[*subjects.Setting]{
		use: "set KEY VALUE", short: "Give a setting a value", args: exactly("KEY", "VALUE"),
		long: "Gives a setting a value, at once and for all instances of the site. The value is JSON; a bare word or a duration such as 15m is a string.\n" +
			"A setting of the type secret takes the name of where the secret stands, never the secret: file:/run/secrets/gateway or\nenv:" + configs.SecretEnvPrefix + "GATEWAY.",
		example: "  waybill config set order.pending_timeout 30m\n  waybill config set rpc.max_in_flight 256",
		prepare: func([]string) error { return positive("--if-revision", revision) },
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Setting, error) {
			return c.Config.SetIf(ctx, args[0], settingValue(args[0], args[1]), revision)
		},
		show: showSetting,
	}.command(p)
	c.Flags().Int64Var(&revision, "if-revision", 0, "only while the setting stands at this `revision`, as config get shows it")
	return c
}

// positive checks a flag that names a revision; 0 is its absence.
func positive(flag string, n int64) error {
	if n < 0 {
		return usage("%s must be a revision, above 0", flag)
	}
	return nil
}

func (p *program) configRollback() *cobra.Command {
	return question[*subjects.Setting]{
		use: "rollback KEY [REVISION]", short: "Give a setting a value back that it had",
		long: "Gives a setting the value that it had before the present one, or that of a revision which config history lists. That is a\n" +
			"change like any other: rolled back once more the setting is what it was.",
		example: "  waybill config rollback payment.capture\n  waybill config rollback payment.capture 42",
		args: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				if n, err := strconv.ParseInt(args[1], 10, 64); err != nil || n < 1 {
					return usage("%q is no revision; waybill config history %s lists them", args[1], args[0])
				}
				return nil
			}
			return exactly("KEY")(c, args)
		},
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Setting, error) {
			var revision int64
			if len(args) == 2 {
				revision, _ = strconv.ParseInt(args[1], 10, 64) // checked above
			}
			return c.Config.Rollback(ctx, args[0], revision)
		},
		show: showSetting,
	}.command(p)
}

// settingValue is what a person meant by a setting's value: JSON, or a bare word for a string. A setting whose values are
// strings takes 5 and true as words, too.
func settingValue(key, text string) jsontext.Value {
	value := jsontext.Value(text)
	if value.IsValid() && (!takesText(key) || value.Kind() == jsontext.KindString) {
		return value
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return value // not UTF-8: the site says so
	}
	return quoted
}

func takesText(key string) bool {
	s, ok := configs.Lookup(key)
	return ok && (s.Type == configs.TypeString || s.Type == configs.TypeChoice || s.Type == configs.TypeDuration || s.Type == configs.TypeSecret)
}

func (p *program) configList() *cobra.Command {
	return question[*subjects.Settings]{
		use: "list", short: "List the settings", example: "  waybill config list",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Settings, error) {
			return c.Config.List(ctx)
		},
		show: func(s *sheet, l *subjects.Settings) {
			rows := make([][]string, len(l.Settings))
			for i, st := range l.Settings {
				rows[i] = []string{st.Key, s.value(st), plainValue(st.Default), short(bounds(st), 40), short(st.SetBy, 30), s.when(st.SetAt)}
			}
			s.table([]string{"key", "value", "default", "takes", "set by", "set"}, rows)
			for _, st := range l.Settings {
				if st.Problem != "" {
					s.line("%s", s.paint(red, clean(st.Key+": "+st.Problem)))
				}
			}
			if l.Degraded != "" {
				s.line("%s", s.paint(yellow, clean(l.Degraded)))
			}
		},
	}.command(p)
}

// bounds is what a setting takes, in short.
func bounds(st subjects.Setting) string {
	switch {
	case len(st.Choices) > 0:
		return strings.Join(st.Choices, ", ")
	case len(st.Min) > 0 && len(st.Max) > 0:
		return strings.TrimSpace(plainValue(st.Min) + " to " + plainValue(st.Max) + " " + st.Unit)
	}
	return st.Type
}

// value is a setting's value, in bold where somebody set it.
func (s *sheet) value(st subjects.Setting) string {
	v := plainValue(st.Value)
	if string(st.Value) != string(st.Default) {
		return s.paint(bold, v)
	}
	return v
}

// plainValue writes a string without its quotes, and all else as it is.
func plainValue(v subjects.Raw) string {
	var text string
	if v.Kind() == jsontext.KindString && json.Unmarshal(v, &text) == nil {
		return text
	}
	return string(v)
}

func showSetting(s *sheet, st *subjects.Setting) {
	s.facts("key", s.paint(bold, st.Key), "value", s.value(*st), "default", plainValue(st.Default), "type", st.Type, "takes", bounds(*st),
		"set by", st.SetBy, "set", s.when(st.SetAt), "revision", revisionText(st.Revision), "what it does", st.Description, "affects", st.Affects,
		"problem", st.Problem)
}

func revisionText(n int64) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

func (p *program) configHistory() *cobra.Command {
	return question[*subjects.Revisions]{
		use: "history KEY", short: "List the values that a setting had, newest first",
		example: "  waybill config history payment.capture", args: exactly("KEY"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Revisions, error) {
			return c.Config.History(ctx, args[0])
		},
		show: func(s *sheet, l *subjects.Revisions) {
			rows := make([][]string, len(l.Revisions))
			for i, r := range l.Revisions {
				value := plainValue(r.Value)
				if len(r.Value) == 0 {
					value = "(default)"
				}
				rows[i] = []string{number(r.Revision), s.when(r.SetAt), r.SetBy, value}
			}
			s.table([]string{right + "revision", "set", "by", "value"}, rows)
		},
	}.command(p)
}

func (p *program) configWatch() *cobra.Command {
	return stream{
		use: "watch [KEY]", short: "Show settings as they change", example: "  waybill config watch\n  waybill config watch payment.capture",
		args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return exactly("KEY")(c, args)
		},
		run: func(ctx context.Context, c *client.Client, x *connection, args []string) error {
			if len(args) == 1 {
				if _, err := c.Config.Get(ctx, args[0]); err != nil {
					return err
				}
			}
			for st, err := range c.Config.Watch(ctx) {
				if err != nil {
					return err
				}
				if len(args) == 1 && st.Key != args[0] {
					continue
				}
				if err := p.printChange(x, *st); err != nil {
					return err
				}
			}
			return nil
		},
	}.command(p)
}

func (p *program) printChange(x *connection, st subjects.Setting) error {
	if x.output == asJSON {
		return p.printJSON(st)
	}
	s := p.sheet()
	s.line("%-8s  %s = %s  (%s)", s.when(st.SetAt), clean(st.Key), clean(s.value(st)), clean(cmp.Or(st.SetBy, "its default")))
	return s.err
}
