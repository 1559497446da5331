package main

import (
	"fmt"
	"sort"
	"strings"
)

// goName is a name of the bundle as Go writes it: `op_id` is OpID.
func goName(name string) string {
	var written strings.Builder
	for _, word := range strings.Split(name, "_") {
		switch word {
		case "":
		case "id":
			written.WriteString("ID")
		case "ids":
			written.WriteString("IDs")
		default:
			written.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return written.String()
}

// plural is the name of a list of what a field has.
func plural(name string) string {
	return name + "s"
}

// goType is the type in Go of what a type of the bundle has, as a field of a reply.
func goType(of field) string {
	switch of.Type {
	case "record":
		return "*Record"
	case "integer", "ms", "position":
		return "int64"
	default:
		return "string"
	}
}

// reader is the function that reads a type of the bundle.
func reader(of field) string {
	switch goType(of) {
	case "*Record":
		return "record"
	case "int64":
		return "integer"
	default:
		return "text"
	}
}

// sentence is a comment of one line.
func sentence(text string) string {
	return strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
}

func sorted[V any](of map[string]V) []string {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func quoted(text string) string {
	return fmt.Sprintf("%q", text)
}
