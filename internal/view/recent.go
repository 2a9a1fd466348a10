package view

// recent remembers the rows of the aggregates written last, so that most events are written without a look-up. It holds at
// most 2 × recentMax of them, in two generations: when the younger is full, the older is forgotten. It belongs to the writer
// and says nothing that the file does not say; after a transaction that was rolled back it is emptied.
type recent struct {
	young, old map[key]known
}

// recentMax is the number of aggregates of a generation: a few thousand orders under way, about 2 MB.
const recentMax = 8192

// known is what recent remembers of a row.
type known struct {
	num   int64
	facts uint64 // a hash of what stands in the table facts; 0 where it is not known
}

func (r *recent) get(k key) (known, bool) {
	if v, ok := r.young[k]; ok {
		return v, true
	}
	v, ok := r.old[k]
	if ok {
		r.put(k, v)
	}
	return v, ok
}

func (r *recent) put(k key, v known) {
	if len(r.young) >= recentMax {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[key]known)
	}
	r.young[k] = v
}

func (r *recent) empty() { r.young, r.old = nil, nil }
