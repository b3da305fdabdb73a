package capture

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx"
)

// patterns are globs over whole paths.
type patterns []pattern

// pattern is a glob, and what every path that it matches begins and ends with: most names are told
// apart by these alone.
type pattern struct {
	glob, head, tail string
}

func compile(globs []string) (patterns, error) {
	var all patterns
	for _, g := range globs {
		var err error
		switch {
		case !doublestar.ValidatePattern(g):
			err = fmt.Errorf("%q is not a glob pattern", g)
		case !strings.HasPrefix(g, "/"):
			err = shivx.Hint(fmt.Errorf("the pattern %q is not absolute", g),
				"begin it with /, as in /**/"+strings.TrimLeft(g, "*/")+" or /etc/ssl/**")
		case len(g) > 1 && strings.HasSuffix(g, "/"):
			err = shivx.Hint(fmt.Errorf("the pattern %q ends with a slash and matches nothing", g), "remove the slash")
		}
		if err != nil {
			return nil, err
		}
		const special = `*?[]{}\`
		p := pattern{glob: g, head: g}
		if i := strings.IndexAny(g, special); i >= 0 {
			// /a/** matches /a as well.
			p.head = strings.TrimSuffix(g[:i], "/")
			p.tail = g[strings.LastIndexAny(g, special)+1:]
			p.tail = p.tail[strings.LastIndexByte(p.tail, '/')+1:]
		}
		all = append(all, p)
	}
	return all, nil
}

// find returns the first pattern that matches a path.
func (ps patterns) find(path string) (string, bool) {
	for _, p := range ps {
		if ok, _ := doublestar.Match(p.glob, path); ok {
			return p.glob, true
		}
	}
	return "", false
}

// within returns those that may match a name right below prefix.
func (ps patterns) within(prefix string) patterns {
	var some patterns
	for _, p := range ps {
		if strings.HasPrefix(p.head, prefix) || strings.HasPrefix(prefix, p.head) {
			some = append(some, p)
		}
	}
	return some
}

// match says whether a name below prefix is excluded.
func (ps patterns) match(prefix, name string) bool {
	for _, p := range ps {
		if !strings.HasSuffix(name, p.tail) {
			continue
		}
		if len(p.head) > len(prefix) && !strings.HasPrefix(name, p.head[len(prefix):]) {
			continue
		}
		if ok, _ := doublestar.Match(p.glob, prefix+name); ok {
			return true
		}
	}
	return false
}
