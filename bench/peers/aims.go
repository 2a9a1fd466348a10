package main

import (
	"fmt"

	"waybill/bench"
)

// aim is what a figure of Waybill's is to be at most, or at least.
type aim struct {
	peer      string
	processes int
	callers   int
	what      string
	figure    func(rpcRow) *bench.Spread
	bound     float64
	atLeast   bool
}

var (
	toGRPC     = func(r rpcRow) *bench.Spread { return r.ToGRPC }
	toNATS     = func(r rpcRow) *bench.Spread { return r.ToNATS }
	toThrift   = func(r rpcRow) *bench.Spread { return r.ToThrift }
	toEcho     = func(r rpcRow) *bench.Spread { return r.ToEcho }
	rateToGRPC = func(r rpcRow) *bench.Spread { return r.RateToGRPC }
	allocs     = func(r rpcRow) *bench.Spread { return r.Allocs }
)

var aims = []aim{
	{"waybill-inprocess", 1, 1, "p50, to nats.go's", toNATS, 1, false},
	{"waybill-inprocess", 1, 1, "p50, to TCP's", toEcho, 1, false},
	{"waybill-inprocess", 1, 1, "allocations", allocs, 20, false},
	{"waybill-nats", 1, 1, "allocations", allocs, 36, false},
	{"waybill-tcp", 1, 1, "allocations", allocs, 20, false},
	{"waybill-tcp", 1, 1, "p50, to nats.go's", toNATS, 1, false},
	{"waybill-tcp", 2, 1, "p50, to nats.go's", toNATS, 1, false},
	{"waybill-nats", 2, 1, "p50, to gRPC's", toGRPC, 0.65, false},
	{"waybill-tcp", 2, 1, "p50, to gRPC's", toGRPC, 0.55, false},
	{"waybill-tcp-polling", 2, 1, "p50, to gRPC's", toGRPC, 0.2, false},
	{"waybill-unix-polling", 2, 1, "p50, to gRPC's", toGRPC, 0.2, false},
	{"waybill-tcp-polling", 2, 1, "p50, to Thrift's", toThrift, 0.6, false},
	{"waybill-unix-polling", 2, 1, "p50, to Thrift's", toThrift, 0.6, false},
	{"waybill-nats", 2, 16, "calls/s, to gRPC's", rateToGRPC, 1.8, true},
	{"waybill-nats", 2, 256, "calls/s, to gRPC's", rateToGRPC, 2.2, true},
	{"waybill-tcp", 2, 16, "calls/s, to gRPC's", rateToGRPC, 2.5, true},
	{"waybill-tcp", 2, 256, "calls/s, to gRPC's", rateToGRPC, 3, true},
	{"waybill-unix", 2, 16, "calls/s, to gRPC's", rateToGRPC, 2.5, true},
	{"waybill-unix", 2, 256, "calls/s, to gRPC's", rateToGRPC, 3, true},
}

// aims are those that the run has a figure for.
func (r *rpcReport) aims() grid {
	g := grid{{"peer", "processes", "callers", "aim", "this run", ""}}
	for _, a := range aims {
		for _, t := range r.Tables {
			for _, row := range t.Rows {
				if t.Processes != a.processes || t.Callers != a.callers || row.Peer != a.peer || a.figure(row) == nil {
					continue
				}
				s := *a.figure(row)
				sign, outcome := "≤", "missed"
				if a.atLeast {
					sign = "≥"
				}
				if s.Median == a.bound || s.Median > a.bound == a.atLeast {
					outcome = "held"
				}
				g = append(g, []string{a.peer, fmt.Sprint(a.processes), fmt.Sprint(a.callers), fmt.Sprintf("%s %s %g", a.what, sign, a.bound), spread(s, 1, 2), outcome})
			}
		}
	}
	return g
}
