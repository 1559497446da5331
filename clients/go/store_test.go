package cloakroom_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"cloakroom.example/cloakroom"
)

var background = context.Background()

func must[V any](t *testing.T) func(value V, err error) V {
	return func(value V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func create(t *testing.T, store *cloakroom.Store, new cloakroom.NewSession) *cloakroom.Session {
	t.Helper()
	return must[*cloakroom.Created](t)(store.Create(background, new)).Session
}

func wants(t *testing.T, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Errorf("the error is %v, and should be %v", err, wanted)
	}
}

func equal(t *testing.T, found, wanted any) {
	t.Helper()
	if !reflect.DeepEqual(found, wanted) {
		t.Errorf("there is %v, and should be %v", found, wanted)
	}
}

func TestASessionIsFoundAsItWasMade(t *testing.T) {
	store := open(t, cloakroom.Options{})
	made := create(t, store, cloakroom.NewSession{
		User: "ann", Connection: "c", Node: "n", Attributes: map[string]any{"cart": []string{"umbrella"}},
	})
	found := must[*cloakroom.Session](t)(store.Get(background, made.ID))
	equal(t, found, made)
	var cart []string
	if isThere, err := found.Attributes.Get("cart", &cart); !isThere || err != nil || cart[0] != "umbrella" {
		t.Errorf("the cart is %v, %v, %v", cart, isThere, err)
	}
}

func TestATextThatNobodyChangedIsSavedAsItWas(t *testing.T) {
	store := open(t, cloakroom.Options{})
	session := create(t, store, cloakroom.NewSession{Attributes: map[string]any{
		"large": json.RawMessage("9007199254740993"), "empty": json.RawMessage("[]"), "spaced": json.RawMessage(`{ "a": 1 }`),
	}})
	if err := session.Attributes.Set("other", "value"); err != nil {
		t.Fatal(err)
	}
	if err := store.Update(background, session); err != nil {
		t.Fatal(err)
	}
	found := must[*cloakroom.Session](t)(store.Get(background, session.ID))
	equal(t, found.Attributes, cloakroom.Values{
		"large": json.RawMessage("9007199254740993"), "empty": json.RawMessage("[]"),
		"spaced": json.RawMessage(`{ "a": 1 }`), "other": json.RawMessage(`"value"`),
	})
}

func TestAnUpdateOfAnOldCopyIsAConflict(t *testing.T) {
	store := open(t, cloakroom.Options{})
	session := create(t, store, cloakroom.NewSession{})
	copied := *session
	if err := store.Update(background, session); err != nil {
		t.Fatal(err)
	}
	err := store.Update(background, &copied)
	var conflict *cloakroom.ConflictError
	if !errors.As(err, &conflict) || conflict.Current != 2 {
		t.Errorf("the error is %v", err)
	}
	wants(t, err, cloakroom.ErrConflict)
	wants(t, err, cloakroom.ErrRefused)
}

func TestWhatIsNotThereIsMissing(t *testing.T) {
	store := open(t, cloakroom.Options{Rules: cloakroom.Rules{TouchInterval: time.Second}})
	id, _ := store.NewID("")
	_, err := store.Get(background, id)
	wants(t, err, cloakroom.ErrMissing)
	_, err = store.Refresh(background, id)
	wants(t, err, cloakroom.ErrMissing)
	_, err = store.RefreshAndGet(background, id)
	wants(t, err, cloakroom.ErrMissing)
	_, err = store.Patch(background, id, cloakroom.Patch{Set: map[string]any{"a": 1}})
	wants(t, err, cloakroom.ErrMissing)
	_, err = store.SessionByConnection(background, "nobody's")
	wants(t, err, cloakroom.ErrMissing)
	if wasThere := must[bool](t)(store.Delete(background, id)); wasThere {
		t.Error("it was deleted")
	}
}

func TestALoginGivesANewIDAndTheOldOneLeadsNowhere(t *testing.T) {
	store := open(t, cloakroom.Options{})
	visit := create(t, store, cloakroom.NewSession{Attributes: map[string]any{"cart": 1}})
	login := must[*cloakroom.Rotated](t)(store.Rotate(background, visit.ID, cloakroom.Rotation{User: "ann"}))
	if login.Session.ID == visit.ID || login.Session.User != "ann" || login.ByAnother {
		t.Errorf("the login is %+v", login)
	}
	_, err := store.Get(background, visit.ID)
	wants(t, err, cloakroom.ErrRotated)
	equal(t, must[int64](t)(store.Count(background, cloakroom.UserSessions("ann"))), int64(1))
}

func TestARotatedIDLeadsToTheSession(t *testing.T) {
	store := open(t, cloakroom.Options{})
	session := create(t, store, cloakroom.NewSession{User: "ann"})
	rotated := must[*cloakroom.Rotated](t)(store.Rotate(background, session, cloakroom.Rotation{})).Session
	equal(t, must[*cloakroom.Session](t)(store.Get(background, session.ID)).ID, rotated.ID)
	patched := must[*cloakroom.Patched](t)(store.Patch(background, session.ID, cloakroom.Patch{Set: map[string]any{"a": 1}}))
	equal(t, patched.ID, rotated.ID)
	again := must[*cloakroom.Rotated](t)(store.Rotate(background, session.ID, cloakroom.Rotation{}))
	if !again.ByAnother || again.Session.ID != rotated.ID {
		t.Errorf("the second rotation is %+v", again)
	}
}

func TestAConnectionIsFoundTakenAndTakenOver(t *testing.T) {
	store := open(t, cloakroom.Options{})
	first, second := create(t, store, cloakroom.NewSession{}), create(t, store, cloakroom.NewSession{})
	bind := func(session *cloakroom.Session, takeOver bool) (*cloakroom.Bound, error) {
		return store.Bind(background, session.ID, cloakroom.Binding{Connection: "c", Node: "n", TakeOver: takeOver})
	}
	must[*cloakroom.Bound](t)(bind(first, false))
	equal(t, must[*cloakroom.Session](t)(store.SessionByConnection(background, "c")).ID, first.ID)
	_, err := bind(second, false)
	var taken *cloakroom.TakenError
	if !errors.As(err, &taken) || taken.Holder != first.ID {
		t.Errorf("the error is %v", err)
	}
	bound := must[*cloakroom.Bound](t)(bind(second, true))
	equal(t, bound.TakenFrom, first.ID)
	equal(t, must[*cloakroom.Session](t)(store.SessionByConnection(background, "c")).ID, second.ID)
	equal(t, must[bool](t)(store.Unbind(background, first.ID, "c")), false)
	equal(t, must[bool](t)(store.Unbind(background, second.ID, "c")), true)
}

func TestTheOldestIsEvictedOrOneMoreIsRefused(t *testing.T) {
	namespace := fresh()
	rules := cloakroom.Rules{SessionsPerUser: 2, OnLimit: cloakroom.Evict}
	evicting := open(t, cloakroom.Options{Namespace: namespace, Rules: rules})
	// Of two that were made in the same millisecond the one whose id comes first is the oldest.
	oldest := create(t, evicting, cloakroom.NewSession{ID: "a", User: "ann", Connection: "c", Node: "n"})
	create(t, evicting, cloakroom.NewSession{ID: "b", User: "ann"})
	third := must[*cloakroom.Created](t)(evicting.Create(background, cloakroom.NewSession{User: "ann"}))
	equal(t, third.Evicted, []cloakroom.Removed{{ID: oldest.ID, Connection: "c", Node: "n"}})
	rules.OnLimit = cloakroom.Reject
	_, err := open(t, cloakroom.Options{Namespace: namespace, Rules: rules}).Create(background, cloakroom.NewSession{User: "ann"})
	var limit *cloakroom.LimitError
	if !errors.As(err, &limit) || limit.Live != 2 {
		t.Errorf("the error is %v", err)
	}
}

func TestManyMoreThanTheLimitAreRemovedOnTheWay(t *testing.T) {
	namespace := fresh()
	without := open(t, cloakroom.Options{Namespace: namespace})
	for count := 0; count < 450; count++ {
		create(t, without, cloakroom.NewSession{User: "ann"})
	}
	rules := cloakroom.Rules{SessionsPerUser: 1, OnLimit: cloakroom.Evict}
	store := open(t, cloakroom.Options{Namespace: namespace, Rules: rules, Deadline: 20 * time.Second})
	made := must[*cloakroom.Created](t)(store.Create(background, cloakroom.NewSession{User: "ann"}))
	equal(t, len(made.Evicted), 450)
	equal(t, must[int64](t)(store.Count(background, cloakroom.UserSessions("ann"))), int64(1))
}

func TestPagesTellEachSessionOnce(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		store := open(t, cloakroom.Options{Partitions: partitions})
		var made []cloakroom.ID
		for count := 0; count < 23; count++ {
			user := fmt.Sprintf("user %d", count)
			made = append(made, create(t, store, cloakroom.NewSession{User: user, Node: "n"}).ID)
		}
		found := map[cloakroom.ID]bool{}
		var next *cloakroom.Cursor
		for {
			page := must[*cloakroom.Page](t)(store.List(background, cloakroom.NodeSessions("n"), 4, next))
			for _, session := range page.Sessions {
				if found[session.ID] {
					t.Error("a session is told twice")
				}
				found[session.ID] = true
			}
			if next = page.Next; next == nil {
				break
			}
		}
		equal(t, len(found), len(made))
		equal(t, must[int64](t)(store.Count(background, cloakroom.NodeSessions("n"))), int64(len(made)))
	}
}

func TestAUserIsLoggedOutEverywhereButHere(t *testing.T) {
	store := open(t, cloakroom.Options{})
	here := create(t, store, cloakroom.NewSession{User: "ann"})
	for count := 0; count < 250; count++ {
		create(t, store, cloakroom.NewSession{User: "ann", Connection: fmt.Sprint(count)})
	}
	deleted := must[*cloakroom.UserDeleted](t)(store.DeleteUser(background, "ann", here))
	equal(t, len(deleted.Removed), 250)
	if deleted.Removed[0].Connection == "" {
		t.Error("the connection to close is not told")
	}
	equal(t, must[*cloakroom.Session](t)(store.Get(background, here.ID)).ID, here.ID)
	_, err := store.DeleteUser(background, "")
	wants(t, err, cloakroom.ErrInvalid)
}

func TestWhatHasExpiredIsReapedAndToldOnce(t *testing.T) {
	store := open(t, cloakroom.Options{Partitions: 3})
	session := create(t, store, cloakroom.NewSession{TTL: time.Millisecond, Attributes: map[string]any{"a": 1}})
	untilExpired(t, store)
	reaped := must[*cloakroom.Reaped](t)(store.Reap(background, 100))
	equal(t, len(reaped.Sessions), 1)
	equal(t, reaped.Sessions[0].ID, session.ID)
	equal(t, reaped.Sessions[0].Attributes, session.Attributes)
	equal(t, len(must[*cloakroom.Reaped](t)(store.Reap(background, 100)).Sessions), 0)
}

func TestARefreshWithinTheTouchIntervalWritesNothing(t *testing.T) {
	store := open(t, cloakroom.Options{Rules: cloakroom.Rules{TouchInterval: time.Minute}})
	session := create(t, store, cloakroom.NewSession{})
	for _, target := range []cloakroom.SessionRef{session, session.ID} {
		refreshed := must[*cloakroom.Refreshed](t)(store.Refresh(background, target))
		if refreshed.Changed || !refreshed.LastActive.Equal(session.LastActive) {
			t.Errorf("the refresh is %+v", refreshed)
		}
	}
	always := open(t, cloakroom.Options{})
	session = create(t, always, cloakroom.NewSession{})
	if refreshed := must[*cloakroom.Refreshed](t)(always.Refresh(background, session)); !refreshed.Changed {
		t.Errorf("the refresh is %+v", refreshed)
	}
}

func TestANodeWritesOnlyUnderItsLease(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		store := open(t, cloakroom.Options{Partitions: partitions})
		identity := must[*cloakroom.NodeIdentity](t)(cloakroom.NewNodeIdentity("gateway"))
		node := store.AsNode(identity)
		_, err := node.Create(background, cloakroom.NewSession{})
		wants(t, err, cloakroom.ErrFenced)
		must[time.Time](t)(store.Heartbeat(background, identity, cloakroom.Register, time.Minute))
		session := create(t, node, cloakroom.NewSession{})
		equal(t, session.Node, "gateway")
		other := must[*cloakroom.NodeIdentity](t)(cloakroom.NewNodeIdentity("gateway"))
		_, err = store.Heartbeat(background, other, cloakroom.Register, time.Minute)
		var leased *cloakroom.LeasedError
		if !errors.As(err, &leased) || leased.Until.Before(time.Now()) {
			t.Errorf("the error is %v", err)
		}
		nodes := must[[]cloakroom.Node](t)(store.Nodes(background))
		if len(nodes) != 1 || !nodes[0].IsLive || nodes[0].Name != "gateway" {
			t.Errorf("the nodes are %+v", nodes)
		}
		must[time.Time](t)(store.Heartbeat(background, identity, cloakroom.Release, time.Minute))
		_, err = store.Heartbeat(background, identity, cloakroom.Renew, time.Minute)
		wants(t, err, cloakroom.ErrFenced)
	}
}

// leaving is a Doer whose caller leaves as soon as a server says that a lease is held.
type leaving struct {
	cloakroom.Doer
	leave context.CancelFunc
}

func (doer leaving) Do(ctx context.Context, args ...any) (any, error) {
	reply, err := doer.Doer.Do(ctx, args...)
	if list, isList := reply.([]any); isList && len(list) > 0 && fmt.Sprintf("%s", list[0]) == "leased" {
		doer.leave()
	}
	return reply, err
}

func TestALeaseThatWasTakenInVainIsGivenBackThoughTheCallerHasLeft(t *testing.T) {
	options := cloakroom.Options{Namespace: fresh(), Partitions: 3}
	store, client := open(t, options), connect()
	defer client.Close()
	node := func() *cloakroom.NodeIdentity {
		return must[*cloakroom.NodeIdentity](t)(cloakroom.NewNodeIdentity("n"))
	}
	leases := func() []string {
		var keys []string
		found := must[any](t)(client.Do(background, "KEYS", "{"+options.Namespace+":*}:node:n:lease"))
		for _, key := range found.([]any) {
			keys = append(keys, fmt.Sprintf("%s", key))
		}
		sort.Strings(keys)
		return keys
	}
	for held := 0; held < 3; held++ {
		must[time.Time](t)(store.Heartbeat(background, node(), cloakroom.Register, time.Minute))
		kept := leases()[held]
		for _, key := range leases() {
			if key != kept {
				must[any](t)(client.Do(background, "DEL", key))
			}
		}
		ctx, cancel := context.WithCancel(background)
		left := must[*cloakroom.Store](t)(cloakroom.Connect(background, leaving{client, cancel}, options))
		_, err := left.Heartbeat(ctx, node(), cloakroom.Register, time.Minute)
		wants(t, err, cloakroom.ErrLeased)
		must[any](t)(client.Do(background, "DEL", kept))
	}
	must[time.Time](t)(store.Heartbeat(background, node(), cloakroom.Register, time.Minute))
}

func TestATokenIsToldOnceAndStandsForItsSession(t *testing.T) {
	rules := cloakroom.Rules{IDScheme: cloakroom.SchemeToken}
	for _, partitions := range []int{1, 5} {
		store := open(t, cloakroom.Options{Rules: rules, Partitions: partitions})
		created := must[*cloakroom.Created](t)(store.Create(background, cloakroom.NewSession{User: "ann"}))
		token := must[cloakroom.Token](t)(cloakroom.ParseToken(created.Token.Expose()))
		equal(t, must[*cloakroom.Session](t)(store.Get(background, token)).ID, created.Session.ID)
		rotated := must[*cloakroom.Rotated](t)(store.Rotate(background, token, cloakroom.Rotation{}))
		equal(t, rotated.Token.ID(), rotated.Session.ID)
		_, err := store.Rotate(background, token, cloakroom.Rotation{})
		wants(t, err, cloakroom.ErrRotated)
		_, err = store.Get(background, cloakroom.ID(token.Expose()))
		wants(t, err, cloakroom.ErrInvalid)
		if shown := fmt.Sprintf("%v %+v %#v %x %d", token, token, token, token, token); strings.Contains(shown, "ckt_") {
			t.Error("the token is shown")
		}
	}
}

func TestATokenIsRefusedWhereIDsAreOfNone(t *testing.T) {
	token := must[cloakroom.Token](t)(cloakroom.ParseToken("ckt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
	_, err := open(t, cloakroom.Options{}).Get(background, token)
	wants(t, err, cloakroom.ErrInvalid)
}

func TestNothingThatIsShownHasTheID(t *testing.T) {
	session := create(t, open(t, cloakroom.Options{}), cloakroom.NewSession{Attributes: map[string]any{"card": "4000"}})
	id := string(session.ID)
	removed := cloakroom.Removed{ID: session.ID}
	taken := &cloakroom.TakenError{Holder: session.ID}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown := fmt.Sprintf(strings.Repeat(verb+" ", 4), session, session.ID, removed, taken)
		if strings.Contains(shown, id) || strings.Contains(shown, "4000") || strings.Contains(shown, fmt.Sprintf("%x", id)) {
			t.Errorf("%s shows the id", verb)
		}
	}
	for _, value := range []any{session, removed, taken} {
		text := must[[]byte](t)(json.Marshal(value))
		if strings.Contains(string(text), id) || strings.Contains(string(text), "4000") {
			t.Errorf("%s has the id", text)
		}
	}
}

func TestAnOperationIDMakesASessionOnce(t *testing.T) {
	store := open(t, cloakroom.Options{})
	operation := cloakroom.NewOperationID()
	once := store.WithOperationID(operation)
	first := create(t, once, cloakroom.NewSession{User: "ann"})
	second := create(t, once, cloakroom.NewSession{User: "ann"})
	equal(t, second.ID, first.ID)
	kept := must[cloakroom.OperationID](t)(cloakroom.OperationIDOf(operation.Bytes()))
	third := create(t, store.WithOperationID(kept), cloakroom.NewSession{User: "ann"})
	equal(t, third.ID, first.ID)
	equal(t, must[int64](t)(store.Count(background, cloakroom.UserSessions("ann"))), int64(1))
}

func TestWhatIsInvalidNamesItsField(t *testing.T) {
	store := open(t, cloakroom.Options{})
	id, _ := store.NewID("")
	calls := map[string]func() error{
		"user": func() error {
			_, err := store.Create(background, cloakroom.NewSession{User: strings.Repeat("a", 257)})
			return err
		},
		"connection": func() error { _, err := store.Create(background, cloakroom.NewSession{Connection: "\xff"}); return err },
		"node": func() error {
			_, err := store.Create(background, cloakroom.NewSession{Node: strings.Repeat("a", 257)})
			return err
		},
		"ttl":     func() error { _, err := store.Create(background, cloakroom.NewSession{TTL: -1}); return err },
		"status":  func() error { _, err := store.Create(background, cloakroom.NewSession{Status: "odd"}); return err },
		"id":      func() error { _, err := store.Get(background, cloakroom.ID("")); return err },
		"batch":   func() error { _, err := store.Reap(background, 0); return err },
		"limit":   func() error { _, err := store.Expired(background, time.Time{}, 1001); return err },
		"session": func() error { return store.Update(background, nil) },
		"namespace": func() error {
			_, err := cloakroom.Connect(background, connect(), cloakroom.Options{Namespace: "{}"})
			return err
		},
		"refresh_threshold": func() error {
			rules := cloakroom.Rules{RefreshThreshold: 500}
			_, err := cloakroom.Connect(background, connect(), cloakroom.Options{Namespace: "n", Rules: rules})
			return err
		},
		`attribute "a"`: func() error {
			_, err := store.Patch(background, id, cloakroom.Patch{Set: map[string]any{"a": make(chan int)}})
			return err
		},
		`extension "b"`: func() error {
			_, err := store.Patch(background, id, cloakroom.Patch{SetExtensions: map[string]any{"b": json.RawMessage("")}})
			return err
		},
		// Whether they are attributes or extensions they do not know.
		`value "c"`: func() error { return cloakroom.Values{}.Set("c", json.RawMessage("{")) },
		`value "d"`: func() error {
			_, err := cloakroom.Values{"d": json.RawMessage("1")}.Get("d", new(string))
			return err
		},
	}
	for field, call := range calls {
		err := call()
		var invalid *cloakroom.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("of %s the error is %#v", field, err)
		}
	}
}

func TestWhatIsCorruptNamesTheNodeWhoseKeyItIs(t *testing.T) {
	name := fresh()
	store := open(t, cloakroom.Options{Namespace: name})
	identity := must[*cloakroom.NodeIdentity](t)(cloakroom.NewNodeIdentity("gate"))
	if _, err := store.Heartbeat(background, identity, cloakroom.Register, time.Minute); err != nil {
		t.Fatal(err)
	}
	client := connect()
	t.Cleanup(client.Close)
	key := "{" + name + ":0}:node:gate:lease"
	must[any](t)(client.Do(background, "DEL", key))
	must[any](t)(client.Do(background, "RPUSH", key, "no lease"))
	_, err := store.Nodes(background)
	var corrupt *cloakroom.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Member != "gate" || err.Error() != `corrupt listed_lease of "gate"` {
		t.Errorf("the error is %v", err)
	}
}

func TestAValueThatOtherLanguagesCannotReadIsRefused(t *testing.T) {
	store := open(t, cloakroom.Options{})
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for text, isAllowed := range map[string]bool{
		nested(127): true, nested(128): false, `"\ud83d\ude00"`: true, `"\ud83d"`: false, `"\ude00\ud83d"`: false,
		`"\\ud83d"`: true, `"[[\"[["`: true, `{"a":`: false, "\"\xff\"": false, ``: false, `"\uD83Dx"`: false,
		`"\ud83d\n"`: false, `"\ufffd"`: true,
	} {
		_, err := store.Create(background, cloakroom.NewSession{Attributes: map[string]any{"a": json.RawMessage(text)}})
		if (err == nil) != isAllowed {
			t.Errorf("of %.20q the error is %v", text, err)
		}
	}
}

func TestATextThatIsNoUTF8IsRefusedAndNotReplaced(t *testing.T) {
	store := open(t, cloakroom.Options{})
	for _, value := range []any{"\xff", []string{"\xff"}, map[string]any{"\xff": 1}} {
		_, err := store.Create(background, cloakroom.NewSession{Attributes: map[string]any{"a": value}})
		wants(t, err, cloakroom.ErrInvalid)
	}
	create(t, store, cloakroom.NewSession{Attributes: map[string]any{"a": "\ufffd"}})
}

func TestTooManyBytesOrEntriesAreTooLarge(t *testing.T) {
	rules := cloakroom.Rules{SessionBytes: 20, SessionEntries: 2}
	store := open(t, cloakroom.Options{Rules: rules})
	_, err := store.Create(background, cloakroom.NewSession{Attributes: map[string]any{"a": "much too long a text"}})
	wants(t, err, cloakroom.ErrTooLarge)
	_, err = store.Create(background, cloakroom.NewSession{Attributes: map[string]any{"a": 1, "b": 1, "c": 1}})
	wants(t, err, cloakroom.ErrTooLarge)
	session := create(t, store, cloakroom.NewSession{Attributes: map[string]any{"a": 1, "b": 1}})
	_, err = store.Patch(background, session.ID, cloakroom.Patch{Set: map[string]any{"c": 1}})
	var large *cloakroom.TooLargeError
	if !errors.As(err, &large) || large.Entries != 3 {
		t.Errorf("the error is %v", err)
	}
}

func TestANamespaceIsAsItWasMade(t *testing.T) {
	namespace := fresh()
	open(t, cloakroom.Options{Namespace: namespace, Partitions: 4})
	equal(t, open(t, cloakroom.Options{Namespace: namespace}).Partitions(), 4)
	client := connect()
	defer client.Close()
	_, err := cloakroom.Connect(background, client, cloakroom.Options{Namespace: namespace, Partitions: 2})
	wants(t, err, cloakroom.ErrNotStarted)
	rules := cloakroom.Rules{IDScheme: cloakroom.SchemeToken}
	_, err = cloakroom.Connect(background, client, cloakroom.Options{Namespace: namespace, Rules: rules})
	wants(t, err, cloakroom.ErrNotStarted)
	for note, wanted := range map[string]error{
		"2": cloakroom.ErrNotStarted, "0": cloakroom.ErrCorrupt, "": cloakroom.ErrCorrupt, "1 2000": cloakroom.ErrCorrupt,
		"1 1 what": cloakroom.ErrCorrupt, "1 1 token 5 6": cloakroom.ErrCorrupt,
	} {
		name := fresh()
		if _, err := client.Do(background, "SET", "{"+name+":0}:contract", note); err != nil {
			t.Fatal(err)
		}
		_, err := cloakroom.Connect(background, client, cloakroom.Options{Namespace: name})
		wants(t, err, wanted)
	}
}

func TestWhatTheServerForbidsIsNamed(t *testing.T) {
	client := connect()
	defer client.Close()
	name := fresh()
	for _, command := range [][]any{
		{"ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all", "-zrem", "-del"}, {"AUTH", name, "secret"},
	} {
		if _, err := client.Do(background, command...); err != nil {
			t.Fatal(err)
		}
	}
	_, err := cloakroom.Connect(background, client, cloakroom.Options{Namespace: name})
	var forbidden *cloakroom.ForbiddenError
	if !errors.As(err, &forbidden) {
		t.Fatal(err)
	}
	equal(t, forbidden.Lacking, []string{"+del", "+zrem"})
}

func TestEventsAreToldWhereTheNamespaceHasThem(t *testing.T) {
	client := connect()
	defer client.Close()
	namespace := fresh()
	if _, err := client.Do(background, "SET", "{"+namespace+":0}:contract", "1 1 100"); err != nil {
		t.Fatal(err)
	}
	create(t, open(t, cloakroom.Options{Namespace: namespace}), cloakroom.NewSession{Node: "n"})
	for _, stream := range []string{":events", ":node:n:events"} {
		newest, err := client.Do(background, "XREVRANGE", "{"+namespace+":0}"+stream, "+", "-", "COUNT", "1")
		if err != nil || !strings.Contains(fmt.Sprintf("%s", newest), "[what created ") {
			t.Errorf("%s ends in %s, %v", stream, newest, err)
		}
	}
}

func TestTheSessionsOfADeadNodeGoToAnother(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		store := open(t, cloakroom.Options{Partitions: partitions})
		living := must[*cloakroom.NodeIdentity](t)(cloakroom.NewNodeIdentity("living"))
		must[time.Time](t)(store.Heartbeat(background, living, cloakroom.Register, time.Minute))
		for count := 0; count < 7; count++ {
			create(t, store, cloakroom.NewSession{User: fmt.Sprint(count), Connection: fmt.Sprint(count), Node: "dead"})
		}
		recovered := 0
		for more := true; more; {
			claimed := must[*cloakroom.Claimed](t)(store.AsNode(living).Recover(
				background, cloakroom.Recovery{Node: "dead", To: "living", Batch: 3},
			))
			recovered, more = recovered+len(claimed.Sessions), claimed.More
			for _, each := range claimed.Sessions {
				if each.Connection != each.User {
					t.Errorf("there is %+v", each)
				}
			}
		}
		equal(t, recovered, 7)
		equal(t, must[int64](t)(store.Count(background, cloakroom.NodeSessions("living"))), int64(7))
		_, err := store.Recover(background, cloakroom.Recovery{Node: "living", To: "dead"})
		if err == nil {
			t.Error("a node that holds its lease was recovered")
		}
	}
}
