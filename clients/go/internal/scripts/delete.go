package scripts

// Stays tells whether the call does not follow a session to the id that it has now: a deletion that names a new id is the
// end of the old one alone.
func (call *Delete) Stays() bool { return call.NewID != "" }
