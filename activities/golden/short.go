package golden

import (
	"errors"
	"fmt"
	"strings"
)

// mostText bounds, in bytes, what a step says: it goes into the history of its run, and into the ledger.
// mostReasons is how many reasons it gives.
const (
	mostText    = 4 << 10
	mostReasons = 20
)

// counted is a number of things in words.
func counted[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// short cuts off what is too long of a text.
func short(text string) string {
	if len(text) <= mostText {
		return text
	}
	kept := strings.ToValidUTF8(text[:mostText], "")
	return fmt.Sprintf("%s… and %d bytes more", kept, len(text)-len(kept))
}

// shortened returns an error that says no more than short does.
func shortened(err error) error {
	if len(err.Error()) <= mostText {
		return err
	}
	return &shortError{err}
}

// shortError is another error with fewer words. It does not unwrap to that one: Temporal writes down the words
// of each error that another one wraps.
type shortError struct{ whole error }

func (e *shortError) Error() string        { return short(e.whole.Error()) }
func (e *shortError) Is(target error) bool { return errors.Is(e.whole, target) }
func (e *shortError) As(target any) bool   { return errors.As(e.whole, target) }
