//go:build !crashpoint

// Package crashpoint marks the places of a step at which the crash tests kill programs. In
// every ordinary build it does nothing; only a build with the tag crashpoint can be killed.
package crashpoint

// Where in a step a crash point lies.
const (
	Before = "before"
	After  = "after"
)

// Reach is called at a crash point.
func Reach(string, string) {}
