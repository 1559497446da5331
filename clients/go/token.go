package cloakroom

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// tokenPrefix is how every token begins, so that one is known where it does not belong: in a log, or in a repository.
const tokenPrefix = "ckt_"

// tokenDigits are those of 32 bytes in base64url.
const tokenDigits = 43

// Token is what a client holds for a session, and the store does not: the id of the session is its hash. It shows itself
// nowhere but by Expose.
type Token struct {
	secret string
	id     ID
}

// ParseToken takes one that came from a client. The error does not show the text.
func ParseToken(text string) (Token, error) {
	digits := strings.TrimPrefix(text, tokenPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(digits)
	hasForm := err == nil && len(digits) == tokenDigits && len(text) == len(tokenPrefix)+tokenDigits
	if !hasForm || base64.RawURLEncoding.EncodeToString(raw) != digits {
		return Token{}, invalid("token", "must be %q and %d digits of base64url", tokenPrefix, tokenDigits)
	}
	return tokenOf(text), nil
}

func tokenOfSeed(seed []byte) Token {
	return tokenOf(tokenPrefix + base64.RawURLEncoding.EncodeToString(seed))
}

func tokenOf(text string) Token {
	sum := sha256.Sum256([]byte(text))
	return Token{secret: text, id: ID(base64.RawURLEncoding.EncodeToString(sum[:]))}
}

// Expose is the token itself, for the client alone.
func (token Token) Expose() string { return token.secret }

// ID is the id of its session: no secret.
func (token Token) ID() ID { return token.id }

// Format shows the id of its session.
func (token Token) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "token of %s", string(token.id))
}

// MarshalText refuses: what is marshalled is kept somewhere. Expose has the text.
func (token Token) MarshalText() ([]byte, error) {
	return nil, invalid("token", "is not marshalled: Expose has its text")
}
