package scripts

import (
	"strings"
	"unicode/utf8"
)

type entryKey struct{ kind, key string }

// DecodeEntries reads what the changes of a body come to: the last of a key counts, an empty value removes. One that is
// set again keeps its place.
func DecodeEntries(raw string) ([]Entry, error) {
	var entries []Entry
	places := map[entryKey]int{}
	for raw != "" {
		if len(raw) < EntryHeaderBytes {
			return nil, errBroken
		}
		header := readEntryHeader(raw)
		texts, left, whole := readEntryTexts(header, raw[EntryHeaderBytes:])
		kind := entryKinds[header.Kind]
		if !whole || kind == "" || !utf8.ValidString(texts.Key) || !utf8.ValidString(texts.Value) {
			return nil, errBroken
		}
		raw = left
		name := entryKey{kind, texts.Key}
		place, isThere := places[name]
		switch {
		case texts.Value == "":
			if isThere {
				entries[place].Key, entries[place].JSON = "", ""
				delete(places, name)
			}
		case isThere:
			entries[place].JSON = texts.Value
		default:
			places[name] = len(entries)
			entries = append(entries, Entry{Kind: kind, Key: texts.Key, JSON: texts.Value})
		}
	}
	return present(entries), nil
}

// present are the entries that were not removed.
func present(entries []Entry) []Entry {
	kept := entries[:0]
	for _, entry := range entries {
		if entry.JSON != "" {
			kept = append(kept, entry)
		}
	}
	return kept
}

// EncodeEntries writes entries as a script takes them. Their sizes were checked before.
func EncodeEntries(entries []Entry) string {
	var written strings.Builder
	for _, entry := range entries {
		for number, word := range entryKinds {
			if word == entry.Kind {
				written.WriteByte(byte(number))
			}
		}
		size := len(entry.JSON)
		written.WriteByte(byte(len(entry.Key)))
		written.Write([]byte{byte(size >> 16), byte(size >> 8), byte(size)})
		written.WriteString(entry.Key)
		written.WriteString(entry.JSON)
	}
	return written.String()
}
