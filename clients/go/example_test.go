package cloakroom_test

import (
	"context"
	"errors"
	"fmt"

	"cloakroom.example/cloakroom"
)

// Sessions of a web application: a visitor, a login, the requests, and a logout everywhere.
func Example() {
	ctx := context.Background()
	var doer cloakroom.Doer = connect() // or a pool of redigo, go-redis, rueidis
	store, err := cloakroom.Connect(ctx, doer, cloakroom.Options{
		Namespace: fresh(),
		Rules:     cloakroom.Rules{SessionsPerUser: 5, OnLimit: cloakroom.Evict},
	})
	if err != nil {
		panic(err)
	}

	// A visitor, then a login: a new id against fixation, the same data, the user's index, in one step.
	visit, err := store.Create(ctx, cloakroom.NewSession{Attributes: map[string]any{"cart": []string{"umbrella"}}})
	if err != nil {
		panic(err)
	}
	login, err := store.Rotate(ctx, visit.Session, cloakroom.Rotation{User: "ann"})
	if err != nil {
		panic(err)
	}

	// Each request has the id in its cookie.
	cookie := string(login.Session.ID)
	session, err := store.RefreshAndGet(ctx, cloakroom.ID(cookie))
	if err != nil {
		panic(err)
	}
	var cart []string
	if _, err := session.Attributes.Get("cart", &cart); err != nil {
		panic(err)
	}
	_, err = store.Patch(ctx, session, cloakroom.Patch{
		Set: map[string]any{"cart": append(cart, "gloves")}, Version: session.Version,
	})
	if errors.Is(err, cloakroom.ErrConflict) {
		fmt.Println("another request was first: read again")
	}

	deleted, err := store.DeleteUser(ctx, "ann")
	if err != nil {
		panic(err)
	}
	fmt.Println(session.User, cart, len(deleted.Removed))
	// Output: ann [umbrella] 1
}

// The id of a session that is not there leads to the login page; a server that is away does not.
func ExampleStore_Get() {
	ctx := context.Background()
	store, err := cloakroom.Connect(ctx, connect(), cloakroom.Options{Namespace: fresh()})
	if err != nil {
		panic(err)
	}
	_, err = store.Get(ctx, cloakroom.ID("nobody's"))
	switch {
	case errors.Is(err, cloakroom.ErrMissing):
		fmt.Println("to the login page")
	case errors.Is(err, cloakroom.ErrRotated):
		fmt.Println("the browser has a newer cookie: leave it alone")
	case err != nil:
		fmt.Println("try later")
	}
	// Output: to the login page
}

// A session in hand is changed and saved, unless somebody was faster.
func ExampleStore_Update() {
	ctx := context.Background()
	store, err := cloakroom.Connect(ctx, connect(), cloakroom.Options{Namespace: fresh()})
	if err != nil {
		panic(err)
	}
	created, err := store.Create(ctx, cloakroom.NewSession{User: "ann"})
	if err != nil {
		panic(err)
	}
	mine, theirs := created.Session, *created.Session
	if err := mine.Attributes.Set("theme", "dark"); err != nil {
		panic(err)
	}
	fmt.Println(store.Update(ctx, mine))
	var conflict *cloakroom.ConflictError
	if errors.As(store.Update(ctx, &theirs), &conflict) {
		fmt.Println("it is at version", conflict.Current)
	}
	// Output:
	// <nil>
	// it is at version 2
}

// A gateway binds its sockets to sessions, and finds the session of a socket.
func ExampleStore_Bind() {
	ctx := context.Background()
	store, err := cloakroom.Connect(ctx, connect(), cloakroom.Options{Namespace: fresh()})
	if err != nil {
		panic(err)
	}
	created, err := store.Create(ctx, cloakroom.NewSession{User: "ann"})
	if err != nil {
		panic(err)
	}
	binding := cloakroom.Binding{Connection: "socket-7", Node: "gateway-1"}
	if _, err := store.Bind(ctx, created.Session, binding); err != nil {
		panic(err)
	}
	found, err := store.SessionByConnection(ctx, "socket-7")
	if err != nil {
		panic(err)
	}
	fmt.Println(found.User, found.Node)
	// Output: ann gateway-1
}

// With tokens no id that is stored logs anybody in.
func ExampleToken() {
	ctx := context.Background()
	store, err := cloakroom.Connect(ctx, connect(), cloakroom.Options{
		Namespace: fresh(), Rules: cloakroom.Rules{IDScheme: cloakroom.SchemeToken},
	})
	if err != nil {
		panic(err)
	}
	created, err := store.Create(ctx, cloakroom.NewSession{User: "ann"})
	if err != nil {
		panic(err)
	}
	cookie := created.Token.Expose() // to the client, and nowhere else
	token, err := cloakroom.ParseToken(cookie)
	if err != nil {
		panic(err)
	}
	session, err := store.Get(ctx, token)
	if err != nil {
		panic(err)
	}
	fmt.Println(session.User, session.ID == token.ID())
	// Output: ann true
}

// A call that may have happened is repeated under its operation id, and happens once.
func ExampleAmbiguousError() {
	ctx := context.Background()
	store, err := cloakroom.Connect(ctx, connect(), cloakroom.Options{Namespace: fresh()})
	if err != nil {
		panic(err)
	}
	created, err := store.Create(ctx, cloakroom.NewSession{User: "ann"})
	var ambiguous *cloakroom.AmbiguousError
	for errors.As(err, &ambiguous) {
		created, err = store.WithOperationID(ambiguous.OperationID).Create(ctx, cloakroom.NewSession{User: "ann"})
	}
	if err != nil {
		panic(err)
	}
	fmt.Println(created.Session.Version)
	// Output: 1
}

// Reap removes what has expired, batch by batch, in any number of processes.
func ExampleStore_Reap() {
	ctx := context.Background()
	store, err := cloakroom.Connect(ctx, connect(), cloakroom.Options{Namespace: fresh()})
	if err != nil {
		panic(err)
	}
	for more := true; more; {
		reaped, err := store.Reap(ctx, 100)
		if err != nil {
			panic(err)
		}
		for _, session := range reaped.Sessions {
			fmt.Println(session.User, "is gone")
		}
		more = reaped.More
	}
	// Output:
}
