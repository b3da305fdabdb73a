package ledger

import (
	"cmp"
	"slices"
)

// interval is a range of sequence numbers, both ends included.
type interval struct{ first, last uint64 }

// addInterval adds v to a sorted list without overlaps.
func addInterval(list []interval, v interval) []interval {
	list = append(list, v)
	slices.SortFunc(list, func(a, b interval) int { return cmp.Compare(a.first, b.first) })
	out := list[:1]
	for _, x := range list[1:] {
		if top := &out[len(out)-1]; x.first <= top.last+1 {
			top.last = max(top.last, x.last)
		} else {
			out = append(out, x)
		}
	}
	return out
}

// subtract returns the parts of v that are in none of list, which is sorted.
func subtract(v interval, list []interval) []interval {
	var out []interval
	for _, x := range list {
		if x.last < v.first || x.first > v.last {
			continue
		}
		if x.first > v.first {
			out = append(out, interval{v.first, x.first - 1})
		}
		if x.last >= v.last {
			return out
		}
		v.first = x.last + 1
	}
	return append(out, v)
}

func subtractAll(list, minus []interval) []interval {
	var out []interval
	for _, v := range list {
		out = append(out, subtract(v, minus)...)
	}
	return out
}

// intersect returns the parts of list that are in v.
func intersect(v interval, list []interval) []interval {
	var out []interval
	for _, x := range list {
		if a, b := max(x.first, v.first), min(x.last, v.last); a <= b {
			out = append(out, interval{a, b})
		}
	}
	return out
}

// takeFirst splits off the first n numbers of list.
func takeFirst(list []interval, n uint64) (took, rest []interval) {
	for i, v := range list {
		size := v.last - v.first + 1
		if n == 0 {
			return took, list[i:]
		}
		if size > n {
			took = append(took, interval{v.first, v.first + n - 1})
			return took, append([]interval{{v.first + n, v.last}}, list[i+1:]...)
		}
		took, n = append(took, v), n-size
	}
	return took, nil
}

func count(list []interval) (n uint64) {
	for _, v := range list {
		n += v.last - v.first + 1
	}
	return n
}
