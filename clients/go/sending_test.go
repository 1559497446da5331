package cloakroom_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloakroom.example/cloakroom"
)

// faulty is a Doer without pipelines, which fails when it is told to.
type faulty struct {
	cloakroom.Doer
	// fail is asked before a command is sent, and after, what it is to fail with.
	before, after func(command string) error
}

func (doer *faulty) Do(ctx context.Context, args ...any) (any, error) {
	name := fmt.Sprint(args[0])
	if doer.before != nil {
		if err := doer.before(name); err != nil {
			return nil, err
		}
	}
	reply, err := doer.Doer.Do(ctx, args...)
	if doer.after != nil {
		if failed := doer.after(name); failed != nil {
			return nil, failed
		}
	}
	return reply, err
}

var errBroken = errors.New("the connection broke")

func openFaulty(t *testing.T, options cloakroom.Options) (*cloakroom.Store, *faulty) {
	client := connect()
	t.Cleanup(client.Close)
	doer := &faulty{Doer: client}
	options.Namespace = fresh()
	if options.Deadline == 0 {
		options.Deadline = patience
	}
	store, err := cloakroom.Connect(background, doer, options)
	if err != nil {
		t.Fatal(err)
	}
	return store, doer
}

// within is a context that ends soon.
func within(t *testing.T, length time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(background, length)
	t.Cleanup(cancel)
	return ctx
}

func TestADoerWithoutPipelinesDoesTheSame(t *testing.T) {
	store, _ := openFaulty(t, cloakroom.Options{})
	session := create(t, store, cloakroom.NewSession{User: "ann", Connection: "c"})
	equal(t, must[*cloakroom.Session](t)(store.Get(background, session.ID)), session)
	page := must[*cloakroom.Page](t)(store.List(background, cloakroom.UserSessions("ann"), 10, nil))
	equal(t, page.Sessions, []*cloakroom.Session{session})
	equal(t, len(must[*cloakroom.UserDeleted](t)(store.DeleteUser(background, "ann")).Removed), 1)
}

func TestACallWhoseReplyWasLostHappensOnce(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	session := create(t, store, cloakroom.NewSession{})
	lost := 0
	doer.after = func(command string) error {
		if command == "EVALSHA" && lost < 2 {
			lost++
			return errBroken
		}
		return nil
	}
	began := time.Now()
	patched := must[*cloakroom.Patched](t)(store.Patch(background, session, cloakroom.Patch{Set: map[string]any{"a": 1}}))
	equal(t, patched.Version, int64(2))
	equal(t, lost, 2)
	// A script takes what comes within 100 ms of its bound for the first attempt.
	if passed := time.Since(began); passed < 110*time.Millisecond {
		t.Errorf("the second attempt came after %v", passed)
	}
	equal(t, must[*cloakroom.Session](t)(store.Get(background, session.ID)).Version, int64(2))
}

func TestACallThatNobodyAnsweredIsAmbiguousAndRepeatedByItsID(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	doer.after = func(command string) error {
		if command == "EVALSHA" {
			return errBroken
		}
		return nil
	}
	_, err := store.Create(background, cloakroom.NewSession{User: "ann"})
	wants(t, err, cloakroom.ErrAmbiguous)
	wants(t, err, errBroken)
	var ambiguous *cloakroom.AmbiguousError
	if !errors.As(err, &ambiguous) {
		t.Fatal(err)
	}
	doer.after = nil
	create(t, store.WithOperationID(ambiguous.OperationID), cloakroom.NewSession{User: "ann"})
	equal(t, must[int64](t)(store.Count(background, cloakroom.UserSessions("ann"))), int64(1))
}

func TestAReapWhoseReplyWasLostIsNotSentAgain(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	create(t, store, cloakroom.NewSession{TTL: time.Millisecond})
	untilExpired(t, store)
	scripts := 0
	doer.after = func(command string) error {
		if command != "EVALSHA" {
			return nil
		}
		if scripts++; scripts == 2 { // the first one is expired
			return errBroken
		}
		return nil
	}
	_, err := store.Reap(background, 10)
	wants(t, err, cloakroom.ErrAmbiguous)
	equal(t, scripts, 2)
}

func TestWhatWasNotSentDidNotHappen(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	doer.before = func(string) error { return fmt.Errorf("the pool is empty: %w", cloakroom.ErrNotSent) }
	_, err := store.Create(within(t, 50*time.Millisecond), cloakroom.NewSession{})
	wants(t, err, cloakroom.ErrNotExecuted)
	wants(t, err, cloakroom.ErrNotSent)
	_, err = store.Get(within(t, 50*time.Millisecond), cloakroom.ID("nobody"))
	wants(t, err, cloakroom.ErrNotExecuted)
	wants(t, err, cloakroom.ErrNotSent)
	if errors.Is(err, cloakroom.ErrMissing) {
		t.Error("a server that is away tells of no session")
	}
}

func TestAConnectionThatIsRefusedIsWaitedFor(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	session := create(t, store, cloakroom.NewSession{})
	var sent []string
	refused := 0
	doer.before = func(command string) error {
		// More often than one execution is sent.
		if refused < 12 {
			refused++
			return fmt.Errorf("connection refused: %w", cloakroom.ErrNotSent)
		}
		sent = append(sent, command)
		return nil
	}
	patched := must[*cloakroom.Patched](t)(store.Patch(background, session, cloakroom.Patch{Set: map[string]any{"a": 1}}))
	equal(t, patched.Version, int64(2))
	// The connection may lead to another server, whose time nobody told.
	equal(t, sent, []string{"TIME", "EVALSHA"})
	refused = 0
	equal(t, must[*cloakroom.Session](t)(store.Get(background, session.ID)).Version, int64(2))
	refused = 0
	must[*cloakroom.Store](t)(cloakroom.Connect(background, doer, cloakroom.Options{Namespace: fresh(), Deadline: patience}))
}

func TestAnAmbiguousCallIsNothingElse(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	session := create(t, store, cloakroom.NewSession{})
	sent := 0
	doer.after = func(command string) error {
		if command == "EVALSHA" {
			sent++
			return errBroken
		}
		return nil
	}
	doer.before = func(string) error {
		if sent > 0 {
			return cloakroom.ErrNotSent
		}
		return nil
	}
	_, err := store.Patch(within(t, time.Second), session, cloakroom.Patch{Set: map[string]any{"a": 1}})
	wants(t, err, cloakroom.ErrAmbiguous)
	for _, other := range []error{cloakroom.ErrNotExecuted, cloakroom.ErrNotSent, cloakroom.ErrRefused} {
		if errors.Is(err, other) {
			t.Errorf("%v is also %v", err, other)
		}
	}
}

func TestAContextThatIsOverEndsACall(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	ctx, cancel := context.WithCancel(background)
	cancel()
	_, err := store.Create(ctx, cloakroom.NewSession{})
	wants(t, err, cloakroom.ErrNotExecuted)
	wants(t, err, context.Canceled)
	doer.after = func(command string) error {
		if command == "EVALSHA" {
			return errBroken
		}
		return nil
	}
	_, err = store.Create(within(t, 50*time.Millisecond), cloakroom.NewSession{})
	wants(t, err, cloakroom.ErrAmbiguous)
	wants(t, err, context.DeadlineExceeded)
}

func TestScriptsThatWereFlushedAreLoadedAgain(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	flushed := 0
	doer.before = func(command string) error {
		if command == "EVALSHA" && flushed < 12 {
			flushed++
			_, err := doer.Doer.Do(background, "SCRIPT", "FLUSH")
			return err
		}
		return nil
	}
	create(t, store, cloakroom.NewSession{})
	equal(t, flushed, 12)
}

func TestAnErrorOfTheServerIsTheCause(t *testing.T) {
	store, doer := openFaulty(t, cloakroom.Options{})
	for text, wanted := range map[string]error{
		"READONLY You can't write against a read only replica.":                                   cloakroom.ErrNotExecuted,
		"ERR Error running script (call to f_0): @user_script:1: -OOM command not allowed":        cloakroom.ErrNotExecuted,
		"ERR The user executing the script can't run this command or subcommand, on @user_script": cloakroom.ErrAmbiguous,
	} {
		doer.before = func(command string) error {
			if command == "EVALSHA" {
				return cloakroom.ServerError(text)
			}
			return nil
		}
		_, err := store.Create(background, cloakroom.NewSession{})
		wants(t, err, wanted)
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v does not tell the cause", err)
		}
	}
}

func TestManyGoroutinesShareAStore(t *testing.T) {
	store := open(t, cloakroom.Options{Deadline: time.Minute})
	session := create(t, store, cloakroom.NewSession{})
	failed := make(chan error)
	for worker := 0; worker < 20; worker++ {
		key := fmt.Sprint(worker)
		go func() {
			_, err := store.Patch(background, session.ID, cloakroom.Patch{Set: map[string]any{key: 1}})
			failed <- err
		}()
	}
	for worker := 0; worker < 20; worker++ {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	equal(t, len(must[*cloakroom.Session](t)(store.Get(background, session.ID)).Attributes), 20)
}

func TestTheNewerProtocolTellsTheSame(t *testing.T) {
	client := connect()
	t.Cleanup(client.Close)
	if _, err := client.Do(background, "HELLO", "3"); err != nil {
		t.Fatal(err)
	}
	options := cloakroom.Options{Namespace: fresh(), Deadline: patience}
	store := must[*cloakroom.Store](t)(cloakroom.Connect(background, client, options))
	session := create(t, store, cloakroom.NewSession{User: "ann", Node: "n"})
	for _, selector := range []cloakroom.Selector{cloakroom.UserSessions("ann"), cloakroom.NodeSessions("n")} {
		page := must[*cloakroom.Page](t)(store.List(background, selector, 10, nil))
		equal(t, page.Sessions, []*cloakroom.Session{session})
	}
	equal(t, len(must[*cloakroom.UserDeleted](t)(store.DeleteUser(background, "ann")).Removed), 1)
	_, err := store.Get(background, session.ID)
	wants(t, err, cloakroom.ErrMissing)
}
