package cloakroom

import (
	"fmt"
	"strings"
)

const (
	mostPartitions = 1024
	// slots is how many slots a cluster has.
	slots = 16384
)

// namespace is what a store has learned of its namespace: its partitions, how its ids are made, whether it tells events.
type namespace struct {
	name   string
	count  int
	scheme Scheme
	// events is how many a stream keeps; 0: none are told.
	events int64
	// tags are what the keys of each partition begin with.
	tags []string
}

func checkNamespace(name string) error {
	if strings.ContainsAny(name, "{}") {
		return invalid("namespace", "has a brace, which would change the hash tag")
	}
	return checkText("namespace", name, 1, 64)
}

func tagOf(name string, number int) string { return fmt.Sprintf("{%s:%d}", name, number) }

// tagsOf cuts the slots of a cluster into as many slices; the tag of a partition is the first whose slot lies in its
// slice.
func tagsOf(name string, count int) []string {
	tags, left := make([]string, count), count
	for number := 0; left > 0; number++ {
		tag := tagOf(name, number)
		at := crc16(tag[1:len(tag)-1]) % slots * count / slots
		if tags[at] == "" {
			tags[at] = tag
			left--
		}
	}
	return tags
}

// of is the partition of a session's id, or of a user.
func (space *namespace) of(text string) int { return crc16(text) % space.count }

// newID makes an id for a session of a user, or of nobody: the same when the call is repeated. The token is empty where
// ids are not of tokens.
func (space *namespace) newID(operation OperationID, user string) (ID, Token) {
	at := -1
	if user != "" {
		at = space.of(user)
	}
	return space.newIDIn(at, operation)
}

// newIDIn makes one in a partition; -1: in any.
func (space *namespace) newIDIn(at int, operation OperationID) (ID, Token) {
	fits := func(id ID) bool { return at < 0 || space.of(string(id)) == at }
	if space.scheme == SchemeToken {
		token := operation.tokenWhere(func(token Token) bool { return fits(token.id) })
		return token.id, token
	}
	if at < 0 || space.count == 1 {
		return operation.sessionID(), Token{}
	}
	return operation.sessionIDWhere(fits), Token{}
}

// check refuses an id for a session of a user who is in another partition.
func (space *namespace) check(id ID, user string) error {
	if user != "" && space.of(string(id)) != space.of(user) {
		return invalid("id", "is in another partition than the user: NewID makes one that fits")
	}
	return nil
}

// crc16 is CRC-16/XMODEM, by which a cluster finds the slot of a key.
func crc16(text string) int {
	crc := uint16(0)
	for at := 0; at < len(text); at++ {
		crc ^= uint16(text[at]) << 8
		for bit := 0; bit < 8; bit++ {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc)
}
