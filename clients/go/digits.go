package cloakroom

import "strconv"

// digits writes a number as an argument of a command.
func digits(number int64) string { return strconv.FormatInt(number, 10) }
