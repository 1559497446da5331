package cloakroom

import (
	"context"
	"strconv"
	"strings"

	"cloakroom.example/cloakroom/internal/scripts"
)

// loads is how often the scripts are loaded, where somebody flushes them between the load and the call behind it.
const loads = 16

// called are the operations that this client calls. Others are not loaded.
var called = []string{
	"bind", "count", "create", "delete", "delete_user", "expired", "heartbeat", "import", "list", "nodes", "patch", "reap",
	"recover", "refresh", "rotate", "unbind", "update",
}

// start proves that the server allows what the scripts do, and notes their contract in each partition.
func (store *Store) start(ctx context.Context, wanted int) error {
	if err := store.prove(ctx, store.space.tags[0]); err != nil {
		return err
	}
	// The partition of the tag 0 comes first, which namespaces of all numbers have: who is refused there has noted nothing
	// anywhere.
	found, err := store.note(ctx, store.space.tags[0], note{count: wanted, scheme: store.rules.IDScheme})
	if err != nil {
		return err
	}
	first := store.space.tags[0]
	store.space = &namespace{
		name: store.space.name, count: found.count, scheme: found.scheme, events: found.events,
		tags: tagsOf(store.space.name, found.count),
	}
	for _, tag := range store.space.tags {
		if tag != first {
			if _, err := store.note(ctx, tag, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// prove asks whether the user may run all that the scripts run: a command that is refused in the middle of a script would
// leave half of what that writes.
func (store *Store) prove(ctx context.Context, tag string) error {
	bundle := scripts.Known()
	question := []any{"EVALSHA", bundle.Start.Sha1, strconv.Itoa(len(bundle.Start.Keys))}
	for _, pattern := range bundle.Start.Keys {
		question = append(question, strings.Replace(pattern, "{ns:p}", tag, 1))
	}
	for _, command := range bundle.Start.Commands {
		question = append(question, command)
	}
	commands := [][]any{{"SCRIPT", "LOAD", bundle.Start.Source}}
	for _, stem := range called {
		commands = append(commands, []any{"SCRIPT", "LOAD", scripts.Source(stem).Source})
	}
	// No script can ask for a transaction: an empty one changes nothing.
	if _, ok := store.doer.(Pipeliner); ok {
		commands = append(commands, []any{"MULTI"}, []any{"EXEC"})
	}
	commands = append(commands, question, []any{"TIME"})
	for count := 0; count < loads; count++ {
		replies, err := store.exchange(ctx, commands...)
		if err != nil {
			return &NotExecutedError{Cause: err}
		}
		told := replies[len(replies)-2]
		if failed, ok := told.(ServerError); ok && failed.is("NOSCRIPT") && !isRefused(replies[0]) {
			continue
		}
		return store.judge(replies, tag)
	}
	return contended()
}

func isRefused(reply any) bool {
	_, failed := reply.(ServerError)
	return failed
}

func (store *Store) judge(replies []any, tag string) error {
	loaded, transaction := replies[:len(called)+1], replies[len(called)+1:len(replies)-2]
	told, time := replies[len(replies)-2], replies[len(replies)-1]
	for _, reply := range loaded {
		if err := unlessAllowed(reply, "+script|load"); err != nil {
			return err
		}
	}
	if failed, ok := told.(ServerError); ok && (failed.is("TRYAGAIN") || failed.is("ASK")) {
		return nil // its slot is on its way, where no script on several new keys is served
	}
	lacks := "+evalsha"
	if failed, ok := told.(ServerError); ok && strings.Contains(string(failed), " key") {
		lacks = "~" + tag + ":*"
	}
	if err := firstOf(unlessAllowed(told, lacks), unlessAllowed(time, "+time")); err != nil {
		return err
	}
	if told, ok := timeOf(time); ok {
		store.clock.saw(told)
	}
	var lacking []string
	for at, reply := range transaction {
		// Of EXEC the code is that of a transaction that is discarded, and the rest says why.
		if failed, ok := reply.(ServerError); ok && strings.Contains(string(failed), "NOPERM") {
			lacking = append(lacking, []string{"+multi", "+exec"}[at])
		}
	}
	names, _ := told.([]any)
	for _, name := range names {
		command, _ := scripts.Text(name)
		lacking = append(lacking, "+"+strings.ToLower(command))
	}
	if len(lacking) > 0 {
		return &ForbiddenError{Lacking: lacking}
	}
	return nil
}

func unlessAllowed(reply any, lacking string) error {
	if failed, ok := reply.(ServerError); ok && failed.is("NOPERM") {
		return &ForbiddenError{Lacking: []string{lacking}}
	}
	return unlessError("script", reply)
}

// note is what stands under the key of the contract besides its number.
type note struct {
	count  int
	scheme Scheme
	events int64
	// raised is the same note under the contract that is known, where it was noted under an earlier one.
	raised string
}

func (note note) String() string {
	words := []string{digits(scripts.Contract)}
	if note.count > 1 || note.scheme != SchemeUUID || note.events > 0 {
		words = append(words, strconv.Itoa(note.count))
	}
	if note.scheme != SchemeUUID {
		words = append(words, string(note.scheme))
	}
	if note.events > 0 {
		words = append(words, digits(note.events))
	}
	return strings.Join(words, " ")
}

// note notes the contract in a partition where none is, and returns what is noted there.
func (store *Store) note(ctx context.Context, tag string, wanted note) (note, error) {
	key, lifetime := scripts.ContractKey(tag), digits(milliseconds(longest))
	own := wanted
	own.count = orElse(own.count, 1)
	replies, err := store.exchange(ctx, []any{"SET", key, own.String(), "NX", "PX", lifetime}, []any{"GET", key})
	if err != nil {
		return note{}, &NotExecutedError{Cause: err}
	}
	if err := unlessError("contract", replies[1]); err != nil {
		return note{}, err
	}
	stored, isThere := scripts.Text(replies[1])
	if !isThere {
		// A server that takes no writes, for its memory is full or it is a replica, still serves reads and logouts.
		return own, nil
	}
	found, err := readNote(stored)
	switch {
	case err != nil:
		return note{}, err
	case wanted.count != 0 && found.count != wanted.count:
		return note{}, &MismatchError{"partitions", strconv.Itoa(found.count), strconv.Itoa(wanted.count)}
	case found.scheme != wanted.scheme:
		return note{}, &MismatchError{"id scheme", string(found.scheme), string(wanted.scheme)}
	}
	keep := []any{"PEXPIRE", key, lifetime}
	if found.raised != "" {
		keep = []any{"SET", key, found.raised, "XX", "PX", lifetime}
	}
	if _, err := store.exchange(ctx, keep); err != nil {
		return note{}, &NotExecutedError{Cause: err}
	}
	return found, nil
}

// readNote reads what is noted, under the contract that is known.
func readNote(stored string) (note, error) {
	words := strings.Split(stored, " ")
	found, corrupt := note{count: 1, scheme: SchemeUUID}, &CorruptError{Key: "contract"}
	contract, ok := readDecimal(words[0])
	switch {
	case !ok || contract == 0:
		return note{}, corrupt
	case !isAccepted(contract):
		return note{}, &ContractError{Found: contract, Known: scripts.Contract}
	}
	if contract < scripts.Contract {
		found.raised = digits(scripts.Contract) + strings.TrimPrefix(stored, words[0])
	}
	rest := words[1:]
	if len(rest) > 1 {
		if _, isNumber := readDecimal(rest[1]); !isNumber {
			found.scheme = Scheme(rest[1])
			rest = append(rest[:1:1], rest[2:]...)
		}
	}
	numbers := make([]int64, 2)
	for at, word := range rest {
		number, isNumber := readDecimal(word)
		if !isNumber || at >= len(numbers) {
			return note{}, corrupt
		}
		numbers[at] = number
	}
	if len(rest) > 0 {
		found.count = int(numbers[0])
	}
	found.events = numbers[1]
	isKnown := found.scheme == SchemeUUID || found.scheme == SchemeToken
	if !isKnown || found.count < 1 || found.count > mostPartitions {
		return note{}, corrupt
	}
	return found, nil
}

func isAccepted(contract int64) bool {
	for _, accepted := range scripts.Accepts {
		if contract == accepted {
			return true
		}
	}
	return false
}

// readDecimal reads a number of digits alone.
func readDecimal(text string) (int64, bool) {
	for at := 0; at < len(text); at++ {
		if text[at] < '0' || text[at] > '9' {
			return 0, false
		}
	}
	number, err := strconv.ParseInt(text, 10, 64)
	return number, err == nil
}
