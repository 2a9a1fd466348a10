package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/node"
)

// stopWithin is how long a node may take to finish what is in flight, so that the process is gone within 10 s.
const stopWithin = 9 * time.Second

func (p *program) serve() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "serve", Short: "Run a site", Args: exactly(),
		Long: "Runs a site until it is interrupted: it then takes no more work, finishes what is in flight, and exits within 10 s; a second\n" +
			"interruption ends it at once. Every flag is also a variable (--nats-addr is WAYBILL_NATS_ADDR) and a key of the configuration file\n" +
			"(nats_addr); a flag wins over the environment, and that over the file.",
		Example: "  waybill serve\n  waybill serve --data /var/lib/waybill --site shop-7 --config waybill.yaml",
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "configuration `file` (YAML)")
	values := make(map[string]*string)
	for _, o := range configs.Options() {
		values[o.Name] = f.String(o.Name, o.Default, o.Help)
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		given := make(map[string]string)
		for name, value := range values {
			if f.Changed(name) {
				given[name] = *value
			}
		}
		config, err := configs.Load(file, p.nodeEnviron(), given)
		if err != nil {
			return usage("%s", fault.From(err).Message)
		}
		return p.runNode(c.Context(), config)
	}
	return c
}

// runNode runs a node until ctx ends or a part of it dies for good.
func (p *program) runNode(ctx context.Context, config configs.Config) error {
	begun := time.Now()
	log := p.logger(config)
	n, err := node.Start(ctx, node.Options{Config: config, Version: version, Log: log, TuneRuntime: true})
	if err != nil {
		if ctx.Err() != nil {
			return nil // it was interrupted before it stood
		}
		return err
	}
	at := n.Endpoints()
	for _, l := range []struct{ name, address string }{{"nats", at.NATS}, {"http", at.HTTP}, {"etcd", at.Etcd}} {
		if l.address != "" {
			log.Info().Str("address", l.address).Msg(l.name + " listens")
		}
	}
	log.Info().Str("site", string(config.Site)).Str("data", config.Data).Str("durability", config.Durability).Str("version", version).
		Msg("ready in " + time.Since(begun).Round(time.Millisecond).String())

	<-ctx.Done()
	log.Info().Msg("stopping: no more work is taken, what is in flight is finished")
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	begun = time.Now()
	if err := n.Stop(end); err != nil {
		return fmt.Errorf("the stop: %w", err)
	}
	log.Info().Msg("stopped in " + time.Since(begun).Round(time.Millisecond).String())
	return nil
}

// logger writes to the standard error, as the configuration says.
func (p *program) logger(config configs.Config) zerolog.Logger {
	out := p.err
	if config.LogFormat == "console" || config.LogFormat == "auto" && p.errTerminal {
		out = zerolog.ConsoleWriter{Out: p.err, TimeFormat: "15:04:05.000", NoColor: !p.errTerminal || p.env["NO_COLOR"] != ""}
	}
	level, err := zerolog.ParseLevel(config.LogLevel)
	if err != nil {
		level = zerolog.InfoLevel
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}
