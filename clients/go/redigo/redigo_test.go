package redigo_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"cloakroom.example/cloakroom"
	"cloakroom.example/cloakroom/internal/redistest"
	"cloakroom.example/cloakroom/redigo"
)

func poolOf(network, address string) *redis.Pool {
	return &redis.Pool{Dial: func() (redis.Conn, error) { return redis.Dial(network, address) }}
}

func TestAStoreWorksByAPoolOfRedigo(t *testing.T) {
	server, err := redistest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	pool := poolOf("unix", server.Socket)
	defer pool.Close()
	ctx := context.Background()
	store, err := cloakroom.Connect(ctx, redigo.Doer{Pool: pool}, cloakroom.Options{Namespace: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	created, err := store.Create(ctx, cloakroom.NewSession{User: "ann", Attributes: map[string]any{"cart": "\u00fcmbrella"}})
	if err != nil {
		t.Fatal(err)
	}
	page, err := store.List(ctx, cloakroom.UserSessions("ann"), 10, nil)
	if err != nil || len(page.Sessions) != 1 || page.Sessions[0].ID != created.Session.ID {
		t.Errorf("the page is %v, %v", page, err)
	}
	// A script that the server has lost is loaded again, and a foreign type is told.
	for _, command := range [][]any{{"SCRIPT", "FLUSH"}, {"RPUSH", "{shop:0}:session:list", "x"}} {
		if _, err := (redigo.Doer{Pool: pool}).Do(ctx, command...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Patch(ctx, created.Session, cloakroom.Patch{Set: map[string]any{"a": 1}}); err != nil {
		t.Error(err)
	}
	if _, err := store.Get(ctx, cloakroom.ID("list")); !errors.Is(err, cloakroom.ErrCorrupt) {
		t.Errorf("the error is %v", err)
	}
}

func TestAServerThatIsAwayWasSentNothing(t *testing.T) {
	pool := poolOf("unix", t.TempDir()+"/nobody")
	_, err := cloakroom.Connect(context.Background(), redigo.Doer{Pool: pool}, cloakroom.Options{Namespace: "shop"})
	if !errors.Is(err, cloakroom.ErrNotExecuted) || !errors.Is(err, cloakroom.ErrNotSent) {
		t.Errorf("the error is %v", err)
	}
}

func TestAServerThatDoesNotAnswerIsLeftAtTheDeadline(t *testing.T) {
	listener, err := net.Listen("unix", t.TempDir()+"/silent")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	pool := poolOf("unix", listener.Addr().String())
	defer pool.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = (redigo.Doer{Pool: pool}).Do(ctx, "PING")
	if err == nil || errors.Is(err, cloakroom.ErrNotSent) {
		t.Errorf("the error is %v", err)
	}
}
