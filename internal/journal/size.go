package journal

import (
	"context"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
)

// Size is how much a stream holds.
type Size struct {
	Events uint64 `json:"messages"`
	Bytes  uint64 `json:"bytes"`
	Last   uint64 `json:"last_seq"` // the sequence of the last message; 0 for a stream that never held one
}

// Size asks the store how much the stream holds. Errors: unavailable, deadline_exceeded.
func (s *Stream) Size(ctx context.Context) (Size, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	reply, err := s.nc.RequestWithContext(ctx, s.api+"STREAM.INFO."+s.name, nil)
	if err != nil {
		return Size{}, readFault(err, s.name)
	}
	var info struct {
		State Size      `json:"state"`
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		return Size{}, fault.Wrap(err, fault.Internal, "the store's answer can't be read")
	}
	if info.Error != nil {
		return Size{}, readFault(info.Error, s.name)
	}
	return info.State, nil
}

// Size asks the store how much the journal holds. Errors: unavailable, deadline_exceeded.
func (j *Journal) Size(ctx context.Context) (Size, error) { return j.stream.Size(ctx) }
