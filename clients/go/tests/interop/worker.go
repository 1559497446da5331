package main

import (
	"encoding/json"
	"errors"
	"log"
	"math/rand"
	"time"

	"cloakroom.example/cloakroom"
)

var (
	users       = []string{"ann", "bob", "cy"}
	connections = []string{"c1", "c2", "c3", "c4"}
	nodes       = []string{"", "n1", "n2"}
	values      = []string{"0", "9007199254740993", "[]", "{}", `"žluť"`, "null", `{"deep":[1.5,{}]}`}
	ttls        = []time.Duration{100 * time.Millisecond, time.Minute, time.Minute}
)

// tolerated is what others' work may lead to.
var tolerated = map[string]error{
	"missing": cloakroom.ErrMissing, "conflict": cloakroom.ErrConflict, "taken": cloakroom.ErrTaken,
	"exists": cloakroom.ErrExists, "gone": cloakroom.ErrGone, "rotated": cloakroom.ErrRotated,
	"limit": cloakroom.ErrLimit, "contended": cloakroom.ErrContended,
	// The id of a session of another user, or a login of one, who may be in another partition.
	"invalid": cloakroom.ErrInvalid,
}

// worker works at random. Each operation returns the word that it came to.
type worker struct {
	random *rand.Rand
	stores []*cloakroom.Store
	ids    []cloakroom.ID
	copies []*cloakroom.Session
}

func newWorker(url, namespace string, seed int64) *worker {
	worker := &worker{random: rand.New(rand.NewSource(seed)), ids: []cloakroom.ID{"nobody"}}
	for _, policy := range []cloakroom.Policy{cloakroom.Evict, cloakroom.Reject} {
		rules := cloakroom.Rules{SessionsPerUser: 8, OnLimit: policy}
		worker.stores = append(worker.stores, connect(url, namespace, rules))
	}
	return worker
}

// How many operations it makes at least.
const least = 200

func (worker *worker) run(duration time.Duration) map[string]int {
	operations := []func(*cloakroom.Store) (string, error){
		worker.create, worker.create, worker.create, worker.refresh, worker.patch, worker.rotate, worker.bind,
		worker.delete, worker.reap,
	}
	byWord := map[string]int{}
	// However busy the machine is, it does some work.
	for until, count := time.Now().Add(duration), 0; time.Now().Before(until) || count < least; count++ {
		word, err := pick(worker, operations)(pick(worker, worker.stores))
		if err != nil {
			word = wordOf(err)
		}
		byWord[word]++
	}
	return byWord
}

func wordOf(err error) string {
	for word, each := range tolerated {
		if errors.Is(err, each) {
			return word
		}
	}
	log.Fatal(err)
	return ""
}

func pick[V any](worker *worker, from []V) V { return from[worker.random.Intn(len(from))] }

func (worker *worker) value() any { return json.RawMessage(pick(worker, values)) }

// target is a session in hand, which may be old soon, or an id, which may be of one that is gone.
func (worker *worker) target(store *cloakroom.Store) (cloakroom.SessionRef, error) {
	page, err := store.List(background, cloakroom.UserSessions(pick(worker, users)), 10, nil)
	if err != nil {
		return nil, err
	}
	if len(page.Sessions) == 0 || worker.random.Intn(10) == 0 {
		return pick(worker, worker.ids), nil
	}
	session := pick(worker, page.Sessions)
	worker.ids = append(last(worker.ids, 50), session.ID)
	worker.copies = append(last(worker.copies, 10), session)
	return pick(worker, []cloakroom.SessionRef{session, session.ID, pick(worker, worker.copies)}), nil
}

func last[V any](of []V, count int) []V {
	if len(of) > count {
		return of[len(of)-count:]
	}
	return of
}

func (worker *worker) create(store *cloakroom.Store) (string, error) {
	created, err := store.Create(background, cloakroom.NewSession{
		ID:         pick(worker, []cloakroom.ID{"", "", pick(worker, worker.ids)}),
		User:       pick(worker, append([]string{""}, users...)),
		Connection: pick(worker, append([]string{"", ""}, connections...)),
		Node:       pick(worker, nodes),
		TTL:        pick(worker, ttls),
		Attributes: map[string]any{"value": worker.value()},
	})
	if err == nil {
		worker.ids = append(worker.ids, created.Session.ID)
	}
	return "ok", err
}

func (worker *worker) refresh(store *cloakroom.Store) (string, error) {
	target, err := worker.target(store)
	if err != nil {
		return "", err
	}
	if worker.random.Intn(2) == 0 {
		_, err = store.Refresh(background, target)
	} else {
		_, err = store.RefreshAndGet(background, target)
	}
	return "ok", err
}

func (worker *worker) patch(store *cloakroom.Store) (string, error) {
	target, err := worker.target(store)
	if err != nil {
		return "", err
	}
	key := pick(worker, []string{"a", "b", "c"})
	patch := cloakroom.Patch{Set: map[string]any{key: worker.value()}}
	if session, ok := target.(*cloakroom.Session); ok {
		patch.Version = session.Version
	}
	if worker.random.Intn(5) == 0 {
		patch = cloakroom.Patch{Remove: []string{key}, TTL: pick(worker, ttls)}
	}
	patched, err := store.Patch(background, target, patch)
	if err == nil && !patched.Changed {
		return "unchanged", nil
	}
	return "ok", err
}

func (worker *worker) rotate(store *cloakroom.Store) (string, error) {
	target, err := worker.target(store)
	if err != nil {
		return "", err
	}
	user := pick(worker, append([]string{"", "", ""}, users...))
	rotated, err := store.Rotate(background, target, cloakroom.Rotation{User: user})
	if err != nil {
		return "", err
	}
	worker.ids = append(worker.ids, rotated.Session.ID)
	if rotated.ByAnother {
		return "moved", nil
	}
	return "ok", nil
}

func (worker *worker) bind(store *cloakroom.Store) (string, error) {
	target, err := worker.target(store)
	if err != nil {
		return "", err
	}
	connection := pick(worker, connections)
	if worker.random.Intn(3) == 0 {
		detached, err := store.Unbind(background, target, connection)
		if err == nil && !detached {
			return "unchanged", nil
		}
		return "ok", err
	}
	binding := cloakroom.Binding{
		Connection: connection, Node: pick(worker, nodes), TakeOver: worker.random.Intn(2) == 0,
	}
	bound, err := store.Bind(background, target, binding)
	if err == nil && !bound.Changed {
		return "unchanged", nil
	}
	return "ok", err
}

func (worker *worker) delete(store *cloakroom.Store) (string, error) {
	target, err := worker.target(store)
	if err != nil {
		return "", err
	}
	deleted, err := store.Delete(background, target)
	if err == nil && !deleted {
		return "missing", nil
	}
	return "ok", err
}

func (worker *worker) reap(store *cloakroom.Store) (string, error) {
	reaped, err := store.Reap(background, 20)
	if err == nil && len(reaped.Sessions) == 0 {
		return "unchanged", nil
	}
	return "ok", err
}
