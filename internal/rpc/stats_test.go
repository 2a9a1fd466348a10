package rpc

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"waybill/internal/fault"
)

func TestEveryCodeHasACounter(t *testing.T) {
	var s endpointStats
	if len(fault.Codes) > len(s.errors) {
		t.Fatalf("%d codes, %d counters", len(fault.Codes), len(s.errors))
	}
	for i, c := range fault.Codes {
		s.record(c, time.Millisecond)
		if s.errors[i].Load() != 1 {
			t.Errorf("%s was not counted", c)
		}
	}
}

func TestBucketsAreContiguousAndNarrow(t *testing.T) {
	low := uint64(0)
	for b := range bucketCount {
		high := upperOf(b)
		if bucketOf(low) != b || bucketOf(high) != b {
			t.Fatalf("bucket %d from %d to %d: they fall into %d and %d", b, low, high, bucketOf(low), bucketOf(high))
		}
		if low >= subBuckets && (high-low)*subBuckets > low {
			t.Errorf("bucket %d from %d to %d is too wide", b, low, high)
		}
		low = high + 1
	}
	if low != 1<<32 || bucketOf(1<<40) != bucketCount-1 {
		t.Errorf("the buckets end at %d; 2^40 falls into %d", low, bucketOf(1<<40))
	}
}

func TestQuantilesAgainstSorting(t *testing.T) {
	var h histogram
	if q := h.quantiles(0.5, 0.99); q[0] != 0 || q[1] != 0 {
		t.Errorf("of nothing: %v", q)
	}
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]uint64, 10_000)
	for i := range all {
		all[i] = r.Uint64N(1 << (4 + r.Uint64N(24)))
		h.add(all[i])
	}
	slices.Sort(all)
	qs := []float64{0, 0.5, 0.9, 0.99, 1}
	for i, got := range h.quantiles(qs...) {
		exact := all[max(0, int(qs[i]*float64(len(all))+0.999999)-1)]
		if got < exact || float64(got) > float64(exact)*1.0625+1 {
			t.Errorf("p%v is %d, exactly %d", qs[i]*100, got, exact)
		}
	}
}
