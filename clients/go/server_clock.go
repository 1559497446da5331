package cloakroom

import (
	"sync"
	"time"
)

// drift is by how much the server's clock and this process's may run apart: one thousandth.
const drift = 1000

// serverClock is the newest time that the server told: a time that its clock had not passed before, for the bound of a
// call.
type serverClock struct {
	mutex sync.Mutex
	told  int64
	at    time.Time
}

func (clock *serverClock) isKnown() bool {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	return !clock.at.IsZero()
}

// saw notes a time that has just come. An earlier one than was expected counts as well: the clock was set back.
func (clock *serverClock) saw(told int64) {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	clock.told, clock.at = told, time.Now()
}

// forget is for a connection that is made anew, which may lead to another server.
func (clock *serverClock) forget() {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	clock.at = time.Time{}
}

// noLaterThan is a time that the server's clock did not show before an instant; false as long as it told none.
func (clock *serverClock) noLaterThan(instant time.Time) (int64, bool) {
	clock.mutex.Lock()
	defer clock.mutex.Unlock()
	if clock.at.IsZero() {
		return 0, false
	}
	passed := instant.Sub(clock.at)
	if passed >= 0 {
		return clock.told + milliseconds(passed-passed/drift), true
	}
	earliest := clock.told - milliseconds(-passed-passed/drift) - 1
	if earliest < 0 {
		earliest = 0
	}
	return earliest, true
}
