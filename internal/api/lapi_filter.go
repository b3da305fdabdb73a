package api

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/shivx/shivx"
)

// filter is what a bouncer wants to know of.
type filter struct {
	// about is the address or network asked for; the zero Prefix: all.
	about netip.Prefix
	// around: decisions that cover about, and not those within it.
	around bool
	// value that a decision must have exactly; "": any.
	value string
	// nothing is true when it asks for what there never is: other types than bans, other origins.
	nothing bool
	// scopes in small letters; nil: all there are.
	scopes []string
	// with and without are words in the name of a scenario.
	with, without []string
}

// filterOf reads the query of a bouncer; what it does not know it passes over, as bouncers expect.
func filterOf(q url.Values) (f filter, err error) {
	f = filter{
		around: true, with: words(q, "scenarios_containing"), without: words(q, "scenarios_not_containing"),
		scopes: slices.Concat(words(q, "scopes"), words(q, "scope")),
	}
	origins, kind := words(q, "origins"), q.Get("type")
	f.nothing = origins != nil && !slices.Contains(origins, origin) || kind != "" && !strings.EqualFold(kind, banType)
	if v := q.Get("value"); v != "" {
		f.value = canonical(v)
	}
	if text := q.Get("contains"); text != "" {
		if f.around, err = strconv.ParseBool(text); err != nil {
			return f, shivx.Hint(fmt.Errorf("contains is %q", clip(text, maxKey)), "write true or false")
		}
	}
	for _, name := range []string{"ip", "range"} {
		if text := q.Get(name); text != "" && !f.about.IsValid() {
			if f.about, _, err = asWritten(text); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// canonical writes an address or network as decisions do.
func canonical(value string) string {
	if p, _, err := asWritten(value); err == nil {
		return shivx.SourceString(p)
	}
	return value
}

// words reads a list with commas.
func words(q url.Values, name string) (out []string) {
	for _, list := range q[name] {
		for word := range strings.SplitSeq(strings.ToLower(list), ",") {
			if word = strings.TrimSpace(word); word != "" {
				out = append(out, word)
			}
		}
	}
	return out
}

// apply leaves what the bouncer wants to know of. What has ended it is told whatever the scenario was.
func (f filter) apply(d decisions) decisions {
	return decisions{New: f.list(d.New), Deleted: filter{nothing: f.nothing, scopes: f.scopes}.list(d.Deleted)}
}

// list leaves those that are wanted; nil when there are none.
func (f filter) list(all []decision) (out []decision) {
	for _, d := range all {
		if f.wants(d) {
			out = append(out, d)
		}
	}
	return out
}

func (f filter) wants(d decision) bool {
	in := func(word string) bool { return strings.Contains(d.Scenario, word) }
	switch {
	case f.nothing,
		f.scopes != nil && !slices.Contains(f.scopes, strings.ToLower(d.Scope)),
		f.value != "" && f.value != d.Value,
		f.with != nil && !slices.ContainsFunc(f.with, in),
		slices.ContainsFunc(f.without, in):
		return false
	case !f.about.IsValid():
		return true
	case f.around:
		return covers(d.at, f.about)
	}
	return covers(f.about, d.at)
}
