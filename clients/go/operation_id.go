package cloakroom

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

const (
	storedBytes = 8
	seedBytes   = 32
)

// OperationID is what a call is recognized by when it comes twice, and what the id of a session that it makes is made of.
// That of an AmbiguousError is of a call that may have happened.
type OperationID struct {
	stored [storedBytes]byte
	seed   [seedBytes]byte
	// madeAt is when it was made, by the steady clock: no call under it was sent before. Zero of one that was stored.
	madeAt   time.Time
	isRepeat bool
}

// NewOperationID makes a new one, for a new call.
func NewOperationID() OperationID {
	id := OperationID{madeAt: time.Now()}
	draw(id.stored[:])
	draw(id.seed[:])
	return id
}

// draw fills bytes at random.
func draw(into []byte) {
	if _, err := io.ReadFull(rand.Reader, into); err != nil {
		panic("cloakroom: the system has no randomness: " + err.Error())
	}
}

// OperationIDOf takes one that was kept as bytes: of a call that may have happened, and of which nobody knows when.
func OperationIDOf(kept []byte) (OperationID, error) {
	if len(kept) != storedBytes+seedBytes {
		return OperationID{}, invalid("operation id", "is %d bytes, must be %d", len(kept), storedBytes+seedBytes)
	}
	id := OperationID{isRepeat: true}
	copy(id.stored[:], kept)
	copy(id.seed[:], kept[storedBytes:])
	return id, nil
}

// Bytes are what is kept of it, to repeat its call in another process.
func (id OperationID) Bytes() []byte { return append(id.stored[:], id.seed[:]...) }

// Format shows what is stored of it with a session; its seed, of which the session's id is made, is a secret.
func (id OperationID) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "operation %s", hex.EncodeToString(id.stored[:]))
}

func (id OperationID) ofRepeat() OperationID {
	id.isRepeat = true
	return id
}

// ofFirstCall is the same, for a call that what is stored tells of by more than its id: it goes by a bound of its own.
func (id OperationID) ofFirstCall() OperationID {
	id.madeAt, id.isRepeat = time.Now(), false
	return id
}

// nth is that of one of many parts of a call, the same for the same call; of the first it is the call's. All languages
// make it alike, for the copies of a login have such ids.
func (id OperationID) nth(place uint64) OperationID {
	if place == 0 {
		return id
	}
	seeded := append(append([]byte(nil), id.seed[:]...), id.stored[:]...)
	sum := sha512.Sum512(binary.BigEndian.AppendUint64(seeded, place))
	copy(id.stored[:], sum[:storedBytes])
	copy(id.seed[:], sum[storedBytes:storedBytes+seedBytes])
	return id
}

// sessionID is the same for the same call: a UUID of version 4.
func (id OperationID) sessionID() ID {
	raw := id.seed
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	digits := hex.EncodeToString(raw[:16])
	return ID(digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:])
}

// tailDigits is how many hex digits at the end of an id differ from draw to draw.
const tailDigits = 12

// sessionIDWhere draws ids one after the other until one fits; each is as random as one that is drawn once.
func (id OperationID) sessionIDWhere(fits func(ID) bool) ID {
	head := id.sessionID()
	head = head[:len(head)-tailDigits]
	for place := uint64(0); ; place++ {
		sum := sha512.Sum512(id.seeded("draw", place))
		digits := hex.EncodeToString(sum[:])
		for at := 0; at+tailDigits <= len(digits); at += tailDigits {
			if drawn := head + ID(digits[at:at+tailDigits]); fits(drawn) {
				return drawn
			}
		}
	}
}

// tokenWhere draws tokens in the same way.
func (id OperationID) tokenWhere(fits func(Token) bool) Token {
	for place := uint64(0); ; place++ {
		sum := sha512.Sum512(id.seeded("token", place))
		if drawn := tokenOfSeed(sum[:seedBytes]); fits(drawn) {
			return drawn
		}
	}
}

func (id OperationID) seeded(word string, place uint64) []byte {
	seeded := append([]byte(word), id.seed[:]...)
	return binary.BigEndian.AppendUint64(seeded, place)
}
