package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the program's; a release sets it with -ldflags "-X main.version=…".
var version = "0.1.0-dev"

// build says what this program is made of.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitzero"`
	Modified bool   `json:"modified,omitzero"` // the commit is not all of it
	Go       string `json:"go"`
	Platform string `json:"platform"`
	NATS     string `json:"nats_server,omitzero"`
	Etcd     string `json:"etcd,omitzero"`
}

func thisBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/nats-io/nats-server/v2":
			b.NATS = m.Version
		case "go.etcd.io/etcd/server/v3":
			b.Etcd = m.Version
		}
	}
	return b
}

func (p *program) version() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "version", Short: "Say which program this is", Example: "  waybill version -o json", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			x := &connection{p: p, output: output}
			if err := x.settleOutput(); err != nil {
				return err
			}
			b := thisBuild()
			return x.print(b, func(s *sheet) {
				commit := b.Commit
				if b.Modified {
					commit += " and changes"
				}
				s.facts("waybill", b.Version, "commit", commit, "go", b.Go, "platform", b.Platform, "nats-server", b.NATS, "etcd", b.Etcd)
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", p.env["WAYBILL_OUTPUT"], "table or json (default: table on a terminal, else json)")
	return c
}
