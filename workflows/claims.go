package workflows

import (
	"fmt"
	"slices"
	"time"
)

// A claim is one host's word that something holds from a moment on until an end. Claims of several
// hosts come late, twice and in any order; what they say together must not depend on that. So all are
// kept that may still decide something: one that was made no later than another, and ends no later, may
// not.

// claimsKept bounds the claims of one run. In practice there is one, or one for each host.
const claimsKept = 50

// span says when a claim was made and when it ends; zero: it does not.
type span[C any] func(C) (made, until time.Time)

// outlasts says whether an end is after another.
func outlasts(a, b time.Time) bool {
	return !b.IsZero() && (a.IsZero() || a.After(b))
}

// addClaim adds a claim, unless it decides nothing, and drops those that decide nothing beside it.
func addClaim[C any](all []C, c C, of span[C]) []C {
	if slices.ContainsFunc(all, func(other C) bool { return decides(other, c, of) }) {
		return all
	}
	all = slices.DeleteFunc(all, func(other C) bool { return decides(c, other, of) })
	all = append(all, c)
	slices.SortFunc(all, func(a, b C) int {
		madeA, _ := of(a)
		madeB, _ := of(b)
		return madeA.Compare(madeB)
	})
	return latest(all, claimsKept)
}

// decides says whether b says nothing that a does not say.
func decides[C any](a, b C, of span[C]) bool {
	madeA, untilA := of(a)
	madeB, untilB := of(b)
	if madeA.Before(madeB) || outlasts(untilB, untilA) {
		return false
	}
	same := madeA.Equal(madeB) && !outlasts(untilA, untilB)
	return !same || wording(a) >= wording(b)
}

// wording tells claims apart that say the same.
func wording[C any](c C) string { return fmt.Sprintf("%+v", c) }

// claimsAfter drops the claims that were made at or before t.
func claimsAfter[C any](all []C, t time.Time, of span[C]) []C {
	return slices.DeleteFunc(all, func(c C) bool {
		made, _ := of(c)
		return !made.After(t)
	})
}

// joinClaims returns the claim that ends last, and when what all of them say together was made: it
// outranks each of them, so that a host that made the newest follows one that ends later.
func joinClaims[C any](all []C, of span[C]) (longest C, made time.Time) {
	longest = all[0]
	for _, c := range all {
		_, until := of(c)
		_, most := of(longest)
		if outlasts(until, most) {
			longest = c
		}
		if m, _ := of(c); m.After(made) {
			made = m
		}
	}
	if own, _ := of(longest); own.Before(made) {
		made = made.Add(time.Microsecond)
	}
	return longest, made
}

// after returns now, or a moment after known: who speaks to a run knows what it says.
func after(now, known time.Time) time.Time {
	if now = now.UTC(); now.After(known) {
		return now
	}
	return known.Add(time.Microsecond)
}
