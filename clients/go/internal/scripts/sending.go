package scripts

import "strconv"

// Number is an integer that may be absent.
type Number struct {
	value int64
	given bool
}

// Of is an integer that is there.
func Of(value int64) Number { return Number{value: value, given: true} }

// or is the integer in digits, or what is sent in its place.
func (number Number) or(standard string) string {
	if !number.given {
		return standard
	}
	return decimal(number.value)
}

func decimal(value int64) string { return strconv.FormatInt(value, 10) }

// first is the first text that is not empty.
func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// named is the key of a pattern: what stands before a name, the name, and so on. Where a name is empty there is no such
// key, and another keeps its position.
func named(tag, instead string, pieces ...string) string {
	key := tag
	for at, piece := range pieces {
		if at%2 == 1 && piece == "" {
			return instead
		}
		key += piece
	}
	return key
}

// Head is what the beginning of a record tells: all that it takes to remove its session.
type Head struct {
	ID, User, Connection, Node string
	ExpiresAtMs                Number
	// Size is how long the whole record is.
	Size int64
}

// Want is what a need asks for besides what it sets.
type Want struct {
	// Declare says that IDs are to be declared, in the place of those before.
	Declare bool
	// Run is the operation that is to run for IDs, with Arguments.
	Run       string
	IDs       []string
	Arguments map[string]string
}

// Script says what a call runs, and how it may be sent.
type Script struct {
	Stem string
	// Effect is what a second execution would be: reads, repeatable, noted, reported_once.
	Effect       string
	FollowsMoved bool
	TakesBound   bool
}

// Reply is what a call is answered.
type Reply interface {
	Said() *Outcome
}

// Call is a call of an operation.
type Call[R Reply] interface {
	Script() Script
	Framed() *Frame
	Keys(tag string) []string
	Arguments() []string
	Read(raw any) (R, error)
}

// Command is the EVALSHA of a call.
func Command[R Reply](call Call[R], tag string) []any {
	script := call.Script()
	keys, values := call.Keys(tag), call.Arguments()
	command := make([]any, 0, 3+len(keys)+len(values))
	command = append(command, "EVALSHA", Source(script.Stem).Sha1, strconv.Itoa(len(keys)))
	for _, key := range keys {
		command = append(command, key)
	}
	for _, value := range values {
		command = append(command, value)
	}
	return command
}
