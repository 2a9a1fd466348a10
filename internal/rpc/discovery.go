package rpc

import (
	"crypto/rand"
	stdjson "encoding/json" // which micro's types are written for
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go/micro"

	"waybill/internal/id"
	"waybill/internal/lean"
)

// discovery answers $SRV.PING, .INFO and .STATS as a NATS micro service does
// (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md), for all services, for those of this name, and
// for this instance. micro itself would hear the requests too, each endpoint on a goroutine of its own.
type discovery struct {
	identity micro.ServiceIdentity
	info     micro.Info
	started  time.Time
}

// semver is the pattern of https://semver.org.
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

func (s *Server) newDiscovery() (*discovery, error) {
	d := &discovery{started: time.Now().UTC(), identity: micro.ServiceIdentity{
		Name: string(s.service), ID: rand.Text(), Version: s.opts.Version,
		Metadata: map[string]string{"site": string(s.opts.Site), "instance": s.opts.Instance},
	}}
	d.info = micro.Info{ServiceIdentity: d.identity, Type: micro.InfoResponseType, Description: s.opts.Description}
	if !semver.MatchString(s.opts.Version) {
		return nil, fmt.Errorf("the version %.40q is not in the form of SemVer", s.opts.Version)
	}
	for _, e := range s.endpoints {
		if !id.Valid(e.method, id.MaxDerived) {
			return nil, fmt.Errorf("invalid endpoint: %.40q can't be a method", e.method)
		}
		meta, err := e.meta()
		if err != nil {
			return nil, err
		}
		d.info.Endpoints = append(d.info.Endpoints, micro.EndpointInfo{Name: e.name(), Subject: e.subject, QueueGroup: string(s.service), Metadata: meta})
	}
	return d, nil
}

// discoverable subscribes to the questions. Like every answer to one of many, they go to each instance.
func (s *Server) discoverable(d *discovery) error {
	for verb, answer := range map[micro.Verb]func() any{
		micro.PingVerb:  func() any { return micro.Ping{ServiceIdentity: d.identity, Type: micro.PingResponseType} },
		micro.InfoVerb:  func() any { return d.info },
		micro.StatsVerb: func() any { return s.microStats(d) },
	} {
		for _, who := range [][2]string{{"", ""}, {d.identity.Name, ""}, {d.identity.Name, d.identity.ID}} {
			subject, err := micro.ControlSubject(verb, who[0], who[1])
			if err != nil {
				return err
			}
			if err := s.hear(subject, "", func(m lean.Msg) { s.tell(m, answer) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) tell(m lean.Msg, answer func() any) {
	if m.Reply == "" {
		return
	}
	text, err := stdjson.Marshal(answer())
	if err == nil {
		err = s.bus.Later(m.Reply, nil, text)
	}
	if err != nil {
		s.opts.Log.Warn().Err(err).Str("service", string(s.service)).Msg("a question of discovery could not be answered")
	}
}

// microStats is the service's own statistics in micro's form, with the whole of an endpoint's in its data.
func (s *Server) microStats(d *discovery) micro.Stats {
	out := micro.Stats{ServiceIdentity: d.identity, Type: micro.StatsResponseType, Started: d.started}
	for _, e := range s.endpoints { // fixed since Start
		own := e.snapshot()
		one := &micro.EndpointStats{
			Name: e.name(), Subject: e.subject, QueueGroup: string(s.service), NumRequests: int(own.Count), ProcessingTime: e.stats.spent(),
		}
		for _, n := range own.Errors {
			one.NumErrors += int(n)
		}
		if own.Count > 0 {
			one.AverageProcessingTime = one.ProcessingTime / time.Duration(own.Count)
		}
		one.Data, _ = stdjson.Marshal(own) // numbers and names: it can't fail
		out.Endpoints = append(out.Endpoints, one)
	}
	return out
}
