// Command interop is the worker of tests: it works on a namespace together with workers of other languages, or shows what is in it.
//
//	worker URL NAMESPACE SEED SECONDS    random operations; prints how many, and what they came to
//	worker read URL NAMESPACE            ids on standard input; prints each session
//	worker token URL NAMESPACE           prints a new token, of a session of `ann`
//	worker login URL NAMESPACE           tokens on standard input; prints each session, and the token after a login
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"cloakroom.example/cloakroom"
	"cloakroom.example/cloakroom/redigo"
)

// deadline is long: a busy machine is no failure.
const deadline = 20 * time.Second

var background = context.Background()

func main() {
	log.SetFlags(0)
	arguments := os.Args[1:]
	if len(arguments) == 0 {
		log.Fatal("worker [read | token | login] URL NAMESPACE [SEED SECONDS]")
	}
	switch arguments[0] {
	case "read":
		read(connect(arguments[1], arguments[2], cloakroom.Rules{}))
	case "token":
		created, err := tokenStore(arguments[1:]).Create(background, cloakroom.NewSession{User: "ann"})
		check(err)
		show(map[string]any{"token": created.Token.Expose()})
	case "login":
		logIn(tokenStore(arguments[1:]))
	default:
		work(arguments)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func connect(url, namespace string, rules cloakroom.Rules) *cloakroom.Store {
	pool := &redis.Pool{MaxIdle: 4, Dial: func() (redis.Conn, error) { return redis.DialURL(url) }}
	options := cloakroom.Options{Namespace: namespace, Rules: rules, Deadline: deadline}
	store, err := cloakroom.Connect(background, redigo.Doer{Pool: pool}, options)
	check(err)
	return store
}

func tokenStore(arguments []string) *cloakroom.Store {
	return connect(arguments[0], arguments[1], cloakroom.Rules{IDScheme: cloakroom.SchemeToken})
}

func lines(each func(line string)) {
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		each(scanner.Text())
	}
	check(scanner.Err())
}

func read(store *cloakroom.Store) {
	lines(func(line string) {
		session, err := store.Get(background, cloakroom.ID(line))
		if err != nil && !errors.Is(err, cloakroom.ErrMissing) {
			log.Fatal(err)
		}
		show(shown(session))
	})
}

func logIn(store *cloakroom.Store) {
	lines(func(line string) {
		token, err := cloakroom.ParseToken(line)
		check(err)
		session, err := store.RefreshAndGet(background, token)
		check(err)
		show(shown(session))
		rotated, err := store.Rotate(background, token, cloakroom.Rotation{User: "bob"})
		check(err)
		show(map[string]any{"token": rotated.Token.Expose()})
	})
}

// shown is a session as all workers show it; nil: there is none.
func shown(session *cloakroom.Session) any {
	if session == nil {
		return nil
	}
	attributes := map[string]string{}
	for key, text := range session.Attributes {
		attributes[key] = string(text)
	}
	return map[string]any{
		"id": string(session.ID), "user": session.User, "connection": session.Connection, "node": session.Node,
		"version": session.Version, "attributes": attributes,
	}
}

func show(value any) {
	text, err := json.Marshal(value)
	check(err)
	fmt.Println(string(text))
}

func work(arguments []string) {
	seed, err := strconv.ParseInt(arguments[2], 10, 64)
	check(err)
	seconds, err := strconv.ParseFloat(arguments[3], 64)
	check(err)
	worker := newWorker(arguments[0], arguments[1], seed)
	byWord := worker.run(time.Duration(seconds * float64(time.Second)))
	total := 0
	for _, count := range byWord {
		total += count
	}
	show(map[string]any{"operations": total, "by_word": byWord})
}
