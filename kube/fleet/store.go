package fleet

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// entry is all that a store keeps of an object: its fact, and what a reflector needs to tell it from others. It is an
// object itself, because reflectors take nothing else.
type entry struct {
	namespace, name, version string
	fact                     any
}

// GetObjectMeta gives a reflector the key and the version.
func (e *entry) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: e.namespace, Name: e.name, ResourceVersion: e.version}
}

// GetObjectKind is of no use here.
func (e *entry) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject shares the fact, which is never written to.
func (e *entry) DeepCopyObject() runtime.Object {
	c := *e
	return &c
}

func (e *entry) key() string { return key(e.namespace, e.name) }

// entries is a list of them as a reflector pages through it.
type entries struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []*entry
}

// DeepCopyObject shares the entries.
func (l *entries) DeepCopyObject() runtime.Object {
	c := *l
	return &c
}

// store holds the facts of one kind, and what is known of the way to them. It is a cache.ReflectorStore.
type store struct {
	// resource is the plural with its group.
	resource string
	// changed is told of every change of a fact, and of the connection.
	changed func()
	now     func() time.Time

	mu    sync.Mutex
	facts map[string]any
	// sorted are the keys of facts in order; nil after one came or went.
	sorted []string
	// before are the facts as they were taken last, of those that have changed since; nil for one that was not there.
	before map[string]any
	health health
}

// health is what is known of the way to one kind.
type health struct {
	// synced says that all objects were read once, open that a watch tells of every change since.
	synced, open bool
	// polled says that the server allows no watch: objects are listed now and then.
	polled bool
	// heard is when the server last spoke of this kind, broke when the last watch ended.
	heard, broke time.Time
	// err is why the last request failed; nil when it did not.
	err error
}

func newStore(resource string, now func() time.Time, changed func()) *store {
	return &store{resource: resource, changed: changed, now: now, facts: map[string]any{}, before: map[string]any{}}
}

// Add takes in a new or changed object.
func (s *store) Add(obj any) error { return s.put(obj) }

// Update takes in a changed object.
func (s *store) Update(obj any) error { return s.put(obj) }

func (s *store) put(obj any) error {
	e, ok := obj.(*entry)
	if !ok {
		return fmt.Errorf("%s: an object came undecoded: %T", s.resource, obj)
	}
	s.mu.Lock()
	many := len(s.facts)
	news := s.keep(s.facts, e)
	if len(s.facts) != many {
		s.sorted = nil
	}
	s.mu.Unlock()
	if news {
		s.changed()
	}
	return nil
}

// keep puts a fact into facts, unless the store has an equal one: that stays, so that who holds it sees no change. It
// says whether anything is new.
func (s *store) keep(facts map[string]any, e *entry) bool {
	k := e.key()
	had, ok := s.facts[k]
	if ok && reflect.DeepEqual(had, e.fact) {
		facts[k] = had
		return false
	}
	s.differs(k)
	facts[k] = e.fact
	return true
}

// differs notes that a fact is about to change.
func (s *store) differs(key string) {
	had := s.facts[key]
	if _, noted := s.before[key]; !noted {
		s.before[key] = had
	}
}

// Delete takes an object out.
func (s *store) Delete(obj any) error {
	e, ok := obj.(*entry)
	if !ok {
		return fmt.Errorf("%s: an object came undecoded: %T", s.resource, obj)
	}
	s.mu.Lock()
	_, had := s.facts[e.key()]
	if had {
		s.drop(e.key())
	}
	s.mu.Unlock()
	if had {
		s.changed()
	}
	return nil
}

// drop takes a fact out. One that came and went since facts were taken last leaves no trace.
func (s *store) drop(key string) {
	s.differs(key)
	if s.before[key] == nil {
		delete(s.before, key)
	}
	delete(s.facts, key)
	s.sorted = nil
}

// Replace takes in all objects there are.
func (s *store) Replace(list []any, _ string) error {
	s.mu.Lock()
	facts := make(map[string]any, len(list))
	news := !s.health.synced
	for _, obj := range list {
		e, ok := obj.(*entry)
		if !ok {
			s.mu.Unlock()
			return fmt.Errorf("%s: an object came undecoded: %T", s.resource, obj)
		}
		news = s.keep(facts, e) || news
	}
	for k := range s.facts {
		if _, ok := facts[k]; !ok {
			s.drop(k)
			news = true
		}
	}
	s.facts, s.sorted = facts, nil
	s.health.synced = true
	s.mu.Unlock()
	if news {
		s.changed()
	}
	return nil
}

// Resync has no meaning here.
func (s *store) Resync() error { return nil }

// note changes what is known of the way to the objects; who looks is told when that makes a difference.
func (s *store) note(change func(*health)) {
	s.mu.Lock()
	was := s.health
	change(&s.health)
	if was.open && !s.health.open {
		s.health.broke = s.now()
	}
	is := s.health
	s.mu.Unlock()
	if was.open != is.open || (was.err == nil) != (is.err == nil) || was.err != nil && was.err.Error() != is.err.Error() {
		s.changed()
	}
}

// spoke notes an answer of the server.
func (s *store) spoke() {
	s.note(func(h *health) { h.heard, h.err = s.now(), nil })
}

// all are the facts in the order of their names: what is made of them does not depend on chance. With take, what
// changes from now on is what changes gives.
func (s *store) all(take bool) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted == nil {
		s.sorted = slices.Sorted(maps.Keys(s.facts))
	}
	out := make([]any, len(s.sorted))
	for i, k := range s.sorted {
		out[i] = s.facts[k]
	}
	if take {
		s.before = map[string]any{}
	}
	return out
}

// change is a fact that is new, no more (is is nil), or another than before.
type change struct{ was, is any }

// changes are those since facts were taken last, in the order of their names.
func (s *store) changes() []change {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.before) == 0 {
		return nil
	}
	out := make([]change, 0, len(s.before))
	for _, k := range slices.Sorted(maps.Keys(s.before)) {
		out = append(out, change{s.before[k], s.facts[k]})
	}
	s.before = map[string]any{}
	return out
}

// state is the health as of now.
func (s *store) state() health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}
