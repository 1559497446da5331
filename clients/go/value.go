package cloakroom

import (
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// deepest is how deep a JSON value may be nested: all languages read that.
const deepest = 127

// textOf is the JSON text of a value, which checkValue has yet to look at.
func textOf(field string, value any) (json.RawMessage, error) {
	if raw, ok := value.(json.RawMessage); ok {
		return raw, nil
	}
	var written strings.Builder
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, invalid(field, "has no form in JSON: %v", err)
	}
	raw := json.RawMessage(strings.TrimSuffix(written.String(), "\n"))
	// What is no UTF-8 encoding/json replaces in silence, and writes so; U+FFFD itself it does not escape.
	if strings.Contains(written.String(), `\ufffd`) {
		return nil, invalid(field, "has a text that is not UTF-8")
	}
	return raw, nil
}

// checkValue refuses a text that another language could not read: one that is no JSON, is nested too deep, or has half a
// surrogate pair.
func checkValue(field string, raw json.RawMessage) error {
	switch {
	case !utf8.Valid(raw):
		return invalid(field, "is not UTF-8")
	case !json.Valid(raw):
		return invalid(field, "is not JSON")
	}
	depth, inText := 0, false
	for at := 0; at < len(raw); at++ {
		switch sign := raw[at]; {
		case sign == '"':
			inText = !inText
		case inText && sign == '\\':
			size, isWhole := escape(raw[at:])
			if !isWhole {
				return invalid(field, "has half of a surrogate pair")
			}
			at += size - 1
		case !inText && (sign == '[' || sign == '{'):
			if depth++; depth > deepest {
				return invalid(field, "is nested deeper than %d", deepest)
			}
		case !inText && (sign == ']' || sign == '}'):
			depth--
		}
	}
	return nil
}

// escape is how long an escape of valid JSON is; false: it is half of a surrogate pair.
func escape(raw []byte) (int, bool) {
	unit, ok := unitOf(raw)
	if !ok {
		return len(`\n`), true
	}
	if !utf16.IsSurrogate(unit) {
		return len(`\u0000`), true
	}
	second, ok := unitOf(raw[len(`\u0000`):])
	return 2 * len(`\u0000`), ok && utf16.DecodeRune(unit, second) != utf8.RuneError
}

// unitOf reads \u and four digits.
func unitOf(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	unit := rune(0)
	for _, digit := range raw[2:6] {
		value := strings.IndexByte("0123456789abcdef", digit|0x20)
		if digit >= '0' && digit <= '9' {
			value = int(digit - '0')
		}
		if value < 0 {
			return 0, false
		}
		unit = unit<<4 | rune(value)
	}
	return unit, true
}
