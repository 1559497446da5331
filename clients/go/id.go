package cloakroom

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ID is a session's id. Unless the ids of a namespace are those of tokens, it is a secret: anyone who has it is logged
// in. So `fmt` and `encoding/json` show a short hash of it; `string(id)` is the id itself.
type ID string

// hash is what stands for the id in logs.
func (id ID) hash() string {
	sum := sha1.Sum([]byte(id))
	return hex.EncodeToString(sum[:4])
}

// Format shows a short hash.
func (id ID) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "session %s", id.hash())
}

// MarshalText gives a short hash.
func (id ID) MarshalText() ([]byte, error) { return []byte("session " + id.hash()), nil }

// known is what a call knows of its session beforehand; the script asks for the rest.
type known struct {
	id                     ID
	user, connection, node string
	session                *Session
}

// SessionRef names the session of a call: an ID, a Token, or a *Session, with which the call takes one round trip
// less.
type SessionRef interface {
	target(space *namespace) (known, error)
}

func (id ID) target(*namespace) (known, error) {
	return known{id: id}, id.check()
}

func (token Token) target(space *namespace) (known, error) {
	if space.scheme != SchemeToken {
		return known{}, invalid("id", "is a token, in a namespace whose ids are not of tokens")
	}
	return known{id: token.id}, token.id.check()
}

func (session *Session) target(*namespace) (known, error) {
	if session == nil {
		return known{}, invalid("session", "is nil")
	}
	stored := session.stored
	return known{session.ID, stored.user, stored.connection, stored.node, session}, session.ID.check()
}

func (id ID) check() error {
	if strings.HasPrefix(string(id), tokenPrefix) {
		return invalid("id", "is a token: read it with ParseToken")
	}
	return checkText("id", string(id), 1, 128)
}

// checkText refuses a text that is no UTF-8, or whose bytes are too few or too many.
func checkText(field, text string, least, most int) error {
	if !utf8.ValidString(text) {
		return invalid(field, "is not UTF-8")
	}
	if len(text) < least || len(text) > most {
		return invalid(field, "is %d bytes, must be %d to %d", len(text), least, most)
	}
	return nil
}

// checkName refuses what is no user, connection or node; empty means none.
func checkName(field, name string) error { return checkText(field, name, 0, 256) }

// checkRequired refuses an empty one, too.
func checkRequired(field, name string) error { return checkText(field, name, 1, 256) }

func checkRange(field string, value, least, most int64) error {
	if value < least || value > most {
		return invalid(field, "is %d, must be %d to %d", value, least, most)
	}
	return nil
}

// firstOf is the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
