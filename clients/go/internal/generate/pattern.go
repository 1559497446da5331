package main

import "strings"

const tagHole = "{ns:p}"

// pattern is a key's: texts with names between them, and each name is the first of several that is not empty.
type pattern struct {
	texts []string
	names [][]string
}

func parse(text string) pattern {
	var parsed pattern
	rest := strings.TrimPrefix(text, tagHole)
	for {
		before, behind, found := strings.Cut(rest, "<")
		parsed.texts = append(parsed.texts, before)
		if !found {
			return parsed
		}
		names, after, _ := strings.Cut(behind, ">")
		parsed.names = append(parsed.names, strings.Split(names, "|"))
		rest = after
	}
}

// expression is the key in Go, of names that are fields of `of`; `instead` is sent where one of them is empty.
func (parsed pattern) expression(of string, instead string) string {
	if len(parsed.names) == 0 {
		return "tag + " + quoted(parsed.texts[0])
	}
	pieces := []string{"tag", instead}
	for at, names := range parsed.names {
		values := make([]string, len(names))
		for place, name := range names {
			values[place] = of + "." + goName(name)
		}
		value := values[0]
		if len(values) > 1 {
			value = "first(" + strings.Join(values, ", ") + ")"
		}
		pieces = append(pieces, quoted(parsed.texts[at]), value)
	}
	pieces = append(pieces, quoted(parsed.texts[len(parsed.names)]))
	return "named(" + strings.Join(pieces, ", ") + ")"
}
