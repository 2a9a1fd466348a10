package embedded

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/subjects"
)

// streams are the site's, in the order in which they are made.
func streams(site subjects.Site) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{
			Name:        subjects.StreamJournal,
			Description: "every event of the site, in one total order",
			Subjects:    []string{subjects.AllEvents(site)},
			// No MaxAge: a clock that jumps ahead would delete the record of truth. No size either: free space is watched.
			Discard:            jetstream.DiscardNew,
			Duplicates:         2 * time.Second, // for a publisher's own repeat; beyond it the expected sequence decides
			AllowDirect:        true,
			AllowAtomicPublish: true,
			DenyDelete:         true,
			DenyPurge:          true,
		},
		{
			Name:        subjects.StreamDead,
			Description: "what a consumer could not handle",
			Subjects:    []string{subjects.AllDead(site)},
			MaxBytes:    256 << 20,
			Discard:     jetstream.DiscardNew, // full: the consumer keeps the event and tries again, nothing is lost
			Duplicates:  2 * time.Second,
			AllowDirect: true,
		},
		{
			Name:              subjects.StreamKeys,
			Description:       "the customers' data keys, wrapped",
			Subjects:          []string{subjects.AllKeys(site)},
			MaxMsgsPerSubject: 1,
			Duplicates:        2 * time.Second,
			AllowDirect:       true,
		},
	}
}

// EnsureStreams makes the site's streams where they are missing, and gives those that exist what the program relies on; what
// else somebody has set on them stays. It needs the rights of admin. Errors: failed_precondition, naming the stream, where
// one is of another site, or has lost what can't be given back; unavailable where JetStream does not answer.
func EnsureStreams(ctx context.Context, js jetstream.JetStream, site subjects.Site, replicas int) error {
	for _, want := range streams(site) {
		want.Storage = jetstream.FileStorage
		want.Replicas = max(replicas, 1)
		if err := ensureStream(ctx, js, site, want); err != nil {
			return err
		}
	}
	return nil
}

func ensureStream(ctx context.Context, js jetstream.JetStream, site subjects.Site, want jetstream.StreamConfig) error {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		return streamError(err, want.Name, "made")
	}
	if err != nil {
		return streamError(err, want.Name, "read")
	}
	have := s.CachedInfo().Config
	if !slices.Equal(have.Subjects, want.Subjects) {
		return fault.New(fault.FailedPrecondition, "the stream %s has the subjects %s, so it belongs to another site than %q: use that --site, or another --data or server",
			want.Name, strings.Join(have.Subjects, ", "), string(site))
	}
	if have.MaxAge != 0 || have.Retention != jetstream.LimitsPolicy || have.Storage != jetstream.FileStorage {
		return fault.New(fault.FailedPrecondition,
			"the stream %s loses messages (max_age %s, retention %s, storage %s): set max_age 0, retention limits and storage file",
			want.Name, have.MaxAge, have.Retention, have.Storage)
	}
	next, changed := adapt(have, want)
	if !changed {
		return nil
	}
	_, err = js.UpdateStream(ctx, next)
	return streamError(err, want.Name, "changed")
}

// adapt returns have with what must be as in want. Limits that the operator may have moved are not touched.
func adapt(have, want jetstream.StreamConfig) (jetstream.StreamConfig, bool) {
	next := have
	next.AllowDirect = true
	next.AllowAtomicPublish = have.AllowAtomicPublish || want.AllowAtomicPublish
	next.DenyDelete = have.DenyDelete || want.DenyDelete
	next.DenyPurge = have.DenyPurge || want.DenyPurge
	if want.MaxMsgsPerSubject > 0 {
		next.MaxMsgsPerSubject = want.MaxMsgsPerSubject
	}
	next.Discard = want.Discard
	changed := next.AllowDirect != have.AllowDirect || next.AllowAtomicPublish != have.AllowAtomicPublish ||
		next.DenyDelete != have.DenyDelete || next.DenyPurge != have.DenyPurge ||
		next.MaxMsgsPerSubject != have.MaxMsgsPerSubject || next.Discard != have.Discard
	return next, changed
}

func streamError(err error, name, verb string) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return fault.Wrap(err, fault.FailedPrecondition, "the stream %s could not be %s: %s", name, verb, api.Description)
	}
	return fault.Wrap(err, fault.Unavailable, "the stream %s could not be %s: JetStream does not answer", name, verb)
}
