package cloakroom

import (
	"regexp"
	"strings"

	"cloakroom.example/cloakroom/internal/scripts"
)

var (
	// What a script raises itself, it raises before it writes.
	raised = regexp.MustCompile(`^(ERR |NOPERM )?cloakroom|: cloakroom: `)
	// At the beginning; or as Redis 6.2 has it, which wraps what a command in a script ran into.
	code = regexp.MustCompile(`(?:^|: -)([A-Z]+) `)
)

// mayHaveWritten tells whether a script may have written before it ended with this error: of a command that the user may
// not run any more nobody knows.
func mayHaveWritten(err ServerError) bool {
	if raised.MatchString(string(err)) {
		return false
	}
	for _, found := range code.FindAllStringSubmatch(string(err), -1) {
		for _, known := range scripts.Known().NothingWritten {
			if found[1] == known {
				return false
			}
		}
	}
	return true
}

func (err ServerError) is(code string) bool { return strings.HasPrefix(string(err), code) }

// unlessError is the error that came in the place of a reply of a command to a key.
func unlessError(key string, reply any) error {
	failed, ok := reply.(ServerError)
	switch {
	case !ok:
		return nil
	case failed.is("WRONGTYPE"):
		return &CorruptError{Key: key}
	default:
		return &NotExecutedError{Cause: failed}
	}
}
