package registry

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// auditPrefix is where it stands who set a setting and when: /waybill/<site>/audit/<key>. It is written in the same
// transaction as the value, so both carry the same revision; a value with another revision was written by somebody else.
func auditPrefix(site subjects.Site) string { return "/waybill/" + string(site) + "/audit/" }

// ByOther is SetBy of a value that another client wrote straight into etcd.
const ByOther = "etcd"

// audit is the value of an audit key.
type audit struct {
	By string         `json:"by"`
	At timestamp.Time `json:"at"`
}

// entry is what is known of one setting.
type entry struct {
	value    jsontext.Value // the last good value; nil where the default holds
	by       string
	at       timestamp.Time
	revision int64  // etcd's revision of the last change that was looked at, also of a bad value or a deletion
	since    int64  // etcd's revision of the change that made the setting what it is; 0 where none is known
	problem  string // why what stands in etcd was not taken; empty where it was
	auditAt  int64  // revision of the audit below
	audit    audit
}

// settingStore keeps the last good value of every setting, brings it to Live and to disk. What comes from etcd may come
// more than once (by a watch, a read, an own write): each key takes only what is true later than what it has.
type settingStore struct {
	config, audits string // prefixes
	live           *configs.Live
	file           string
	log            zerolog.Logger
	ignored        atomic.Uint64

	applying sync.Mutex // one change at a time goes through to Live and to disk; held while listeners run
	mu       sync.Mutex // guards what follows
	entries  map[string]*entry
	seen     int64         // the highest revision of etcd up to which everything has been looked at
	changed  chan struct{} // closed, and replaced, when a setting has changed
	unsaved  bool          // the file does not hold the latest; guarded by applying
}

func newSettingStore(site subjects.Site, live *configs.Live, file string, log zerolog.Logger) *settingStore {
	s := &settingStore{config: subjects.ConfigPrefix(site), audits: auditPrefix(site), live: live, file: file, log: log,
		entries: make(map[string]*entry), changed: make(chan struct{})}
	for _, d := range configs.Settings() {
		s.entries[d.Key] = &entry{}
	}
	return s
}

// snapshot takes everything that stood in etcd at a revision. before is what highest answered before the question was
// asked: an etcd that now answers with less lost its data or is another one, and starts from scratch.
func (s *settingStore) snapshot(kvs []*mvccpb.KeyValue, revision, before int64) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	if revision < before {
		s.log.Warn().Int64("revision", revision).Int64("before", before).Msg("etcd has forgotten its past; taking its settings from scratch")
		s.seen = 0
		for _, e := range s.entries {
			e.revision, e.since, e.auditAt = 0, 0, 0
		}
	}
	present := make(map[string]bool, len(kvs))
	changed := s.take(kvs, revision)
	for _, kv := range kvs {
		present[strings.TrimPrefix(string(kv.Key), s.config)] = true
	}
	for key, e := range s.entries {
		if !present[key] && e.revision <= revision && (e.value != nil || e.problem != "") {
			*e = entry{revision: revision, since: revision}
			changed = append(changed, key)
		}
	}
	s.seen = max(s.seen, revision)
	s.mu.Unlock()
	s.publish(changed)
}

// events takes what a watch brought, or what this process has written itself; seen is false for the latter, which may be
// ahead of the watch.
func (s *settingStore) events(puts []*mvccpb.KeyValue, deletes []*mvccpb.KeyValue, revision int64, seen bool) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	changed := s.take(puts, 0)
	for _, kv := range deletes {
		key, ok := strings.CutPrefix(string(kv.Key), s.config)
		if e := s.entries[key]; ok && e != nil && kv.ModRevision > e.revision {
			*e = entry{revision: kv.ModRevision, since: kv.ModRevision}
			changed = append(changed, key)
			s.log.Info().Str("setting", key).Msg("setting deleted in etcd; its default holds again")
		}
	}
	if seen {
		s.seen = max(s.seen, revision)
	}
	s.mu.Unlock()
	s.publish(changed)
}

// take looks at key values, audits before the values that they belong to, and returns the settings that changed. asOf is
// the revision at which they were all read, 0 for changes that each speak for their own revision. The caller holds mu.
func (s *settingStore) take(kvs []*mvccpb.KeyValue, asOf int64) (changed []string) {
	for _, kv := range kvs {
		if key, ok := strings.CutPrefix(string(kv.Key), s.audits); ok {
			s.takeAudit(key, kv)
		}
	}
	for _, kv := range kvs {
		if key, ok := strings.CutPrefix(string(kv.Key), s.config); ok && s.takeValue(key, kv, max(asOf, kv.ModRevision)) {
			changed = append(changed, key)
		}
	}
	return changed
}

func (s *settingStore) takeAudit(key string, kv *mvccpb.KeyValue) {
	e := s.entries[key]
	if e == nil || kv.ModRevision <= e.auditAt {
		return
	}
	e.auditAt, e.audit = kv.ModRevision, readAudit(kv.Value)
}

func (s *settingStore) takeValue(key string, kv *mvccpb.KeyValue, asOf int64) (changed bool) {
	e := s.entries[key]
	if e == nil {
		if kv.ModRevision > s.seen {
			s.log.Warn().Str("key", string(kv.Key)).Msg("ignoring a key in etcd that is no setting of this program")
		}
		return false
	}
	if kv.ModRevision == e.revision || asOf < e.revision {
		return false
	}
	e.revision = kv.ModRevision
	setting, _ := configs.Lookup(key)
	good, err := setting.Check(kv.Value)
	if err != nil {
		s.ignored.Add(1)
		who := "another client"
		if e.auditAt == kv.ModRevision { // a program that knows the setting otherwise
			who = e.audit.By
		}
		e.problem = "etcd holds a bad value, which " + who + " wrote and which is ignored: " + fault.From(err).Message
		s.log.Warn().Err(err).Str("setting", key).Msg("ignoring a bad value in etcd; the last good one stays")
		return false
	}
	e.value, e.by, e.at, e.since, e.problem = good, ByOther, timestamp.Time{}, kv.ModRevision, ""
	if e.auditAt == kv.ModRevision {
		e.by, e.at = e.audit.By, e.audit.At
	}
	return true
}

func readAudit(text []byte) audit {
	var a audit
	if err := json.Unmarshal(text, &a); err != nil {
		return audit{By: ByOther} // somebody else's writing: who and when are not known
	}
	return a
}

// publish brings the given settings to Live, tells those who wait, and brings everything to disk. The caller holds applying,
// but not mu.
func (s *settingStore) publish(changed []string) {
	if len(changed) == 0 && !s.unsaved {
		return
	}
	for _, key := range changed {
		e := s.get(key)
		var err error
		if e.value == nil {
			err = s.live.Reset(key)
		} else {
			err = s.live.Set(key, e.value)
		}
		if err != nil { // both were checked: only a fault of this program leads here
			s.log.Error().Err(err).Str("setting", key).Msg("a setting could not take effect")
		}
	}
	if len(changed) > 0 {
		s.mu.Lock()
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
	s.save()
}

// after returns, sorted, the keys of the settings that changed after a revision of etcd, the revision of the last change that
// is known, and a channel that is closed at the next.
func (s *settingStore) after(revision int64) (keys []string, last int64, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.entries {
		if e.since > revision {
			keys = append(keys, key)
		}
		last = max(last, e.since)
	}
	slices.Sort(keys)
	return keys, last, s.changed
}

// get returns a copy of what is known of a declared setting.
func (s *settingStore) get(key string) entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.entries[key]
}

func (s *settingStore) highest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// savedSetting is a setting in the state file.
type savedSetting struct {
	Value jsontext.Value `json:"value"`
	SetBy string         `json:"set_by"`
	SetAt timestamp.Time `json:"set_at,omitzero"`
}

type savedState struct {
	Settings map[string]savedSetting `json:"settings"`
}

// restore takes the last known settings from disk. A file that can't be read costs the defaults, not the start.
func (s *settingStore) restore() {
	if s.file == "" {
		return
	}
	text, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var state savedState
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		s.log.Warn().Err(err).Str("file", s.file).Msg("the last known settings can't be read; starting from the defaults")
		return
	}
	for key, saved := range state.Settings {
		if err := s.live.Set(key, saved.Value); err != nil {
			s.log.Warn().Err(err).Str("file", s.file).Msg("ignoring one of the last known settings")
			continue
		}
		s.mu.Lock()
		*s.entries[key] = entry{value: s.live.Raw(key), by: saved.SetBy, at: saved.SetAt}
		s.mu.Unlock()
	}
}

// save writes the settings that differ from "nobody set it" to disk. The caller holds applying.
func (s *settingStore) save() {
	if s.file == "" {
		return
	}
	state := savedState{Settings: map[string]savedSetting{}}
	s.mu.Lock()
	for key, e := range s.entries {
		if e.value != nil {
			state.Settings[key] = savedSetting{Value: e.value, SetBy: e.by, SetAt: e.at}
		}
	}
	s.mu.Unlock()
	text, err := json.Marshal(state, json.Deterministic(true), jsontext.Multiline(true))
	if err == nil {
		err = writeDurably(s.file, text)
	}
	s.unsaved = err != nil // the next read of etcd tries again
	if err != nil {
		s.log.Warn().Err(err).Str("file", s.file).Msg("the last known settings can't be kept on disk; a start without etcd would miss the latest")
	}
}
