package cloakroom_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/cloakroom"
	"cloakroom.example/cloakroom/internal/redistest"
)

// patience is how long a call of a test may take: a busy machine is no failure.
const patience = time.Minute

var (
	server     *redistest.Server
	namespaces atomic.Int64
)

func TestMain(main *testing.M) {
	started, err := redistest.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = started
	code := main.Run()
	server.Stop()
	os.Exit(code)
}

// connect is a connection to the server of the tests. Examples have it in the place of a client library's pool.
func connect() *redistest.Client {
	client, err := server.Dial()
	if err != nil {
		panic(err)
	}
	return client
}

// fresh is the name of a namespace that no other test has.
func fresh() string { return fmt.Sprintf("test%d", namespaces.Add(1)) }

// untilExpired waits until a session of a store has expired.
func untilExpired(t *testing.T, store *cloakroom.Store) {
	t.Helper()
	for began := time.Now(); time.Since(began) < patience; {
		if len(must[[]cloakroom.Expired](t)(store.Expired(background, time.Time{}, 10))) > 0 {
			return
		}
	}
	t.Fatal("no session has expired")
}

// open makes a store in a namespace of its own.
func open(t *testing.T, options cloakroom.Options) *cloakroom.Store {
	t.Helper()
	if options.Namespace == "" {
		options.Namespace = fresh()
	}
	if options.Deadline == 0 {
		options.Deadline = patience
	}
	client := connect()
	t.Cleanup(client.Close)
	store, err := cloakroom.Connect(context.Background(), client, options)
	if err != nil {
		t.Fatal(err)
	}
	return store
}
