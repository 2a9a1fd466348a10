package client

import (
	"slices"
	"strings"

	"waybill/internal/fault"
	"waybill/subjects"
)

// filter picks events by kind and name: "order.confirmed", "order.*", "*". The empty one lets all through.
type filter map[subjects.Kind]map[string]bool // an empty inner map stands for every event of the kind

func parseFilter(patterns []string) (filter, error) {
	f := filter{}
	for _, p := range patterns {
		if p == "*" {
			return filter{}, nil
		}
		kind, event, _ := strings.Cut(p, ".")
		k := subjects.Kind(kind)
		if !known(k, event) {
			return nil, fault.New(fault.InvalidArgument, "the filter %.60q is not one such as order.confirmed, order.* or *", p)
		}
		names, seen := f[k]
		switch {
		case event == "*":
			f[k] = map[string]bool{}
		case !seen:
			f[k] = map[string]bool{event: true}
		case len(names) > 0:
			names[event] = true
		}
	}
	return f, nil
}

// known reports whether there are events of the kind by that name, "*" being any: a filter with a typo would wait for ever.
func known(k subjects.Kind, event string) bool {
	return slices.Contains(subjects.Kinds, k) && (event == "*" || slices.Contains(subjects.EventsByKind[k], event))
}

// subject is what the server filters by: the events of one kind, or all of them. Everything finer is picked here, several kinds too: a
// consumer with several filters makes the server go through every subject of the site again and again, while orders wait.
func (f filter) subject(site subjects.Site) string {
	if len(f) == 1 {
		for kind := range f {
			return subjects.EventsOf(site, kind)
		}
	}
	return subjects.AllEvents(site)
}

func (f filter) lets(kind subjects.Kind, event string) bool {
	if len(f) == 0 {
		return true
	}
	names, ok := f[kind]
	return ok && (len(names) == 0 || names[event])
}
