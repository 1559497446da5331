package cloakroom_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"cloakroom.example/cloakroom"
	"cloakroom.example/cloakroom/internal/redistest"
)

const scenarios = "../../lua/scenarios"

type scenario struct {
	Name  string `json:"name"`
	Rules struct {
		TouchMs int64  `json:"touch_ms"`
		Limit   int    `json:"limit"`
		Policy  string `json:"policy"`
	} `json:"rules"`
	Calls []struct {
		Operation string         `json:"operation"`
		With      with           `json:"with"`
		Repeats   bool           `json:"repeats"`
		Answer    map[string]any `json:"answer"`
		Failure   string         `json:"failure"`
		Told      map[string]any `json:"told"`
	} `json:"calls"`
}

// with is what a call is given.
type with struct {
	ID         string                     `json:"id"`
	User       string                     `json:"user"`
	NewID      string                     `json:"new_id"`
	Connection string                     `json:"connection"`
	TakeOver   bool                       `json:"take_over"`
	Page       int                        `json:"page"`
	Set        map[string]json.RawMessage `json:"set"`
}

func TestEveryScenario(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(scenarios, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("there is no scenario", err)
	}
	for _, file := range files {
		var subject struct {
			Scenarios []scenario `json:"scenarios"`
		}
		text := must[[]byte](t)(os.ReadFile(file))
		if err := json.Unmarshal(text, &subject); err != nil {
			t.Fatal(file, err)
		}
		for _, scenario := range subject.Scenarios {
			file, scenario := file, scenario
			t.Run(filepath.Base(file)+": "+scenario.Name, func(t *testing.T) {
				t.Parallel()
				play(t, file, scenario)
			})
		}
	}
}

// play makes the calls of a scenario at a server that is played.
func play(t *testing.T, file string, scenario scenario) {
	command := exec.Command(filepath.Join(scenarios, "play"), file, scenario.Name)
	command.Stderr = os.Stderr
	input := must[io.WriteCloser](t)(command.StdinPipe())
	output := must[io.ReadCloser](t)(command.StdoutPipe())
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = command.Process.Kill(); _ = command.Wait() }()
	lines := json.NewDecoder(bufio.NewReader(output))
	var started struct {
		Port int `json:"port"`
	}
	if err := lines.Decode(&started); err != nil {
		t.Fatal(err)
	}
	client := must[*redistest.Client](t)(redistest.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", started.Port)))
	rules := cloakroom.Rules{
		TouchInterval:   time.Duration(scenario.Rules.TouchMs) * time.Millisecond,
		SessionsPerUser: scenario.Rules.Limit, OnLimit: cloakroom.Policy(scenario.Rules.Policy),
	}
	store, err := cloakroom.Connect(background, client, cloakroom.Options{
		Namespace: "scenario", Rules: rules, Deadline: patience,
	})
	repeated := store
	for _, call := range scenario.Calls {
		at := store
		if call.Repeats {
			at = repeated
		}
		answer := map[string]any{}
		if call.Operation != "connect" && err != nil {
			t.Fatal(err)
		}
		if call.Operation != "connect" {
			answer, err = made(at, call.Operation, call.With)
		}
		compare(t, answer, err, call.Answer, call.Failure, call.Told)
		var ambiguous *cloakroom.AmbiguousError
		if errors.As(err, &ambiguous) {
			repeated = store.WithOperationID(ambiguous.OperationID)
		}
		err = nil
	}
	client.Close()
	_ = input.Close()
	var ended struct {
		Differences []string `json:"differences"`
	}
	if err := lines.Decode(&ended); err != nil {
		t.Fatal(err)
	}
	for _, difference := range ended.Differences {
		t.Error(difference)
	}
}

// made makes a call, and returns what it came to, in the words of the scenarios.
func made(store *cloakroom.Store, operation string, with with) (map[string]any, error) {
	id := cloakroom.ID(with.ID)
	set := map[string]any{}
	for key, value := range with.Set {
		set[key] = value
	}
	switch operation {
	case "get":
		session, err := store.Get(background, id)
		return ofSession(session), err
	case "refresh":
		refreshed, err := store.Refresh(background, id)
		if err != nil {
			return nil, err
		}
		return map[string]any{"id": refreshed.ID, "version": refreshed.Version, "changed": refreshed.Changed}, nil
	case "create":
		created, err := store.Create(background, cloakroom.NewSession{ID: id, User: with.User})
		if err != nil {
			return nil, err
		}
		answer := ofSession(created.Session)
		answer["evicted"] = idsOf(created.Evicted)
		return answer, nil
	case "patch":
		patched, err := store.Patch(background, id, cloakroom.Patch{Set: set})
		if err != nil {
			return nil, err
		}
		return map[string]any{"id": patched.ID, "version": patched.Version}, nil
	case "update":
		session, err := store.Get(background, id)
		if err != nil {
			return nil, err
		}
		for key, value := range with.Set {
			session.Attributes[key] = value
		}
		err = store.Update(background, session)
		return ofSession(session), err
	case "rotate":
		rotated, err := store.Rotate(background, id, cloakroom.Rotation{NewID: cloakroom.ID(with.NewID)})
		if err != nil {
			return nil, err
		}
		answer := ofSession(rotated.Session)
		answer["by_another"] = rotated.ByAnother
		return answer, nil
	case "bind":
		binding := cloakroom.Binding{Connection: with.Connection, TakeOver: with.TakeOver}
		bound, err := store.Bind(background, id, binding)
		if err != nil {
			return nil, err
		}
		return map[string]any{"id": bound.ID, "version": bound.Version, "reaped": idsOfSessions(bound.Reaped)}, nil
	case "delete":
		deleted, err := store.Delete(background, id)
		return map[string]any{"deleted": deleted}, err
	case "delete_user":
		deleted, err := store.DeleteUser(background, with.User)
		if err != nil {
			return nil, err
		}
		return map[string]any{"ids": idsOf(deleted.Removed)}, nil
	case "list":
		ids, next := []cloakroom.ID{}, (*cloakroom.Cursor)(nil)
		for {
			page, err := store.List(background, cloakroom.UserSessions(with.User), with.Page, next)
			if err != nil {
				return nil, err
			}
			ids = append(ids, idsOfSessions(page.Sessions)...)
			if next = page.Next; next == nil {
				return map[string]any{"ids": ids}, nil
			}
		}
	case "expired":
		expired, err := store.Expired(background, time.Time{}, 1000)
		ids := []cloakroom.ID{}
		for _, each := range expired {
			ids = append(ids, each.ID)
		}
		return map[string]any{"ids": ids}, err
	case "reap":
		reaped, err := store.Reap(background, 200)
		if err != nil {
			return nil, err
		}
		corrupt := append([]cloakroom.ID{}, reaped.Corrupt...)
		return map[string]any{"ids": idsOfSessions(reaped.Sessions), "corrupt": corrupt}, nil
	default:
		panic(operation + " is no operation of a scenario")
	}
}

func ofSession(session *cloakroom.Session) map[string]any {
	if session == nil {
		return nil
	}
	return map[string]any{
		"id": session.ID, "user": session.User, "connection": session.Connection, "node": session.Node,
		"status": string(session.Status), "version": session.Version, "attributes": session.Attributes,
	}
}

func idsOf(removed []cloakroom.Removed) []cloakroom.ID {
	ids := []cloakroom.ID{}
	for _, each := range removed {
		ids = append(ids, each.ID)
	}
	return ids
}

func idsOfSessions(sessions []*cloakroom.Session) []cloakroom.ID {
	ids := []cloakroom.ID{}
	for _, each := range sessions {
		ids = append(ids, each.ID)
	}
	return ids
}

var failures = map[string]error{
	"missing": cloakroom.ErrMissing, "exists": cloakroom.ErrExists, "gone": cloakroom.ErrGone,
	"conflict": cloakroom.ErrConflict, "limit": cloakroom.ErrLimit, "large": cloakroom.ErrTooLarge,
	"frozen": cloakroom.ErrFrozen, "taken": cloakroom.ErrTaken, "departed": cloakroom.ErrDeparted,
	"rotated": cloakroom.ErrRotated, "corrupt": cloakroom.ErrCorrupt, "not_executed": cloakroom.ErrNotExecuted,
	"invalid": cloakroom.ErrInvalid, "ambiguous": cloakroom.ErrAmbiguous, "other_contract": cloakroom.ErrNotStarted,
	"other_id_scheme": cloakroom.ErrNotStarted,
}

func compare(t *testing.T, answer map[string]any, err error, wanted map[string]any, failure string, told map[string]any) {
	t.Helper()
	if failure != "" {
		wants(t, err, failures[failure])
		answer, wanted = ofError(err), told
	} else if err != nil {
		t.Errorf("the error is %v", err)
	}
	for name, value := range wanted {
		if found := plain(answer[name]); !reflect.DeepEqual(found, value) {
			t.Errorf("%s is %v, and should be %v", name, found, value)
		}
	}
}

func ofError(err error) map[string]any {
	told := map[string]any{}
	var conflict *cloakroom.ConflictError
	var limit *cloakroom.LimitError
	var departed *cloakroom.DepartedError
	var corrupt *cloakroom.CorruptError
	switch {
	case errors.As(err, &conflict):
		told["version"] = conflict.Current
	case errors.As(err, &limit):
		told["live"] = limit.Live
	case errors.As(err, &departed):
		told["place"] = departed.Place
	case errors.As(err, &corrupt):
		told["key"] = corrupt.Key
	}
	return told
}

// plain is a value as JSON has it. An id is told here, which JSON does not do.
func plain(value any) any {
	switch value := value.(type) {
	case cloakroom.ID:
		return string(value)
	case []cloakroom.ID:
		ids := []any{}
		for _, id := range value {
			ids = append(ids, string(id))
		}
		return ids
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	var read any
	if err := json.Unmarshal(text, &read); err != nil {
		panic(err)
	}
	return read
}
