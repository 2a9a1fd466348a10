package rpc

import (
	"math/bits"
	"sync/atomic"
)

// histogram counts durations in microseconds, without locks: 16 buckets to each power of two, so that what it tells is at
// most 6 % off. It reaches 2³² µs, more than an hour.
type histogram struct {
	buckets [bucketCount]atomic.Uint64
}

const (
	subBits     = 4
	subBuckets  = 1 << subBits
	bucketCount = (32-subBits)*subBuckets + subBuckets
)

func bucketOf(us uint64) int {
	us = min(us, 1<<32-1)
	if us < subBuckets {
		return int(us)
	}
	shift := bits.Len64(us) - 1 - subBits
	return shift*subBuckets + int(us>>shift)
}

// upperOf is the largest duration in a bucket.
func upperOf(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return uint64(bucket-shift*subBuckets+1)<<shift - 1
}

func (h *histogram) add(us uint64) { h.buckets[bucketOf(us)].Add(1) }

// quantiles returns, for each of the ascending qs in 0…1, the duration that this part of all durations did not exceed;
// zeros where nothing was counted.
func (h *histogram) quantiles(qs ...float64) []uint64 {
	var counts [bucketCount]uint64
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
	}
	return quantilesOf(&counts, qs...)
}

func quantilesOf(counts *[bucketCount]uint64, qs ...float64) []uint64 {
	var total uint64
	for _, n := range counts {
		total += n
	}
	out := make([]uint64, len(qs))
	if total == 0 {
		return out
	}
	bucket, seen := 0, counts[0]
	for i, q := range qs {
		rank := max(1, uint64(q*float64(total)+0.999999))
		for seen < rank && bucket < bucketCount-1 {
			bucket++
			seen += counts[bucket]
		}
		out[i] = upperOf(bucket)
	}
	return out
}
