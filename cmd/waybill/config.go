package main

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/configs"
	"waybill/subjects"
)

func (p *program) config() *cobra.Command {
	return group("config", "Read and change the live settings", "", "  waybill config set payment.capture on_confirm",
		p.configGet(), p.configSet(), p.configList(), p.configWatch(), p.configHistory())
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
	return question[*subjects.Setting]{
		use: "set KEY VALUE", short: "Give a setting a value", args: exactly("KEY", "VALUE"),
		long:    "Gives a setting a value, at once and for all instances of the site. The value is JSON; a bare word or a duration such as 15m is a string.",
		example: "  waybill config set order.pending_timeout 30m\n  waybill config set rpc.max_in_flight 256",
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Setting, error) {
			return c.Config.Set(ctx, args[0], settingValue(args[0], args[1]))
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
	return ok && (s.Type == configs.TypeString || s.Type == configs.TypeChoice || s.Type == configs.TypeDuration)
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
				rows[i] = []string{st.Key, s.value(st), plainValue(st.Default), st.Type, short(st.Description, 60)}
			}
			s.table([]string{"key", "value", "default", "type", "what it does"}, rows)
		},
	}.command(p)
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
	s.facts("key", s.paint(bold, st.Key), "value", s.value(*st), "default", plainValue(st.Default), "type", st.Type, "unit", st.Unit,
		"set by", st.SetBy, "set", s.when(st.SetAt), "what it does", st.Description)
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
	var every time.Duration
	c := stream{
		use: "watch", short: "Show settings as they change", example: "  waybill config watch",
		run: func(ctx context.Context, c *client.Client, x *connection, _ []string) error {
			if every < 100*time.Millisecond {
				return usage("--every must be at least 100ms")
			}
			tick := time.NewTicker(every)
			defer tick.Stop()
			var before map[string]string
			for {
				settings, err := c.Config.List(ctx)
				if err != nil {
					return err
				}
				now := make(map[string]string, len(settings.Settings))
				for _, st := range settings.Settings {
					now[st.Key] = string(st.Value)
					if old, seen := before[st.Key]; before != nil && (!seen || old != now[st.Key]) {
						if err := p.printChange(x, st); err != nil {
							return err
						}
					}
				}
				before = now
				select {
				case <-tick.C:
				case <-ctx.Done():
					return nil
				}
			}
		},
	}.command(p)
	c.Flags().DurationVar(&every, "every", time.Second, "how often to look")
	return c
}

func (p *program) printChange(x *connection, st subjects.Setting) error {
	if x.output == asJSON {
		return p.printJSON(st)
	}
	s := p.sheet()
	s.line("%-8s  %s = %s  (%s)", s.when(st.SetAt), st.Key, s.value(st), clean(st.SetBy))
	return s.err
}
