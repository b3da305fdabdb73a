package format_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

func TestSequence(t *testing.T) {
	cases := []struct {
		name, roots, entries string
		refused              bool
	}{
		{"a tree", "/a /b", "/a/ /a/x/ /a/x/y /a/x.z /b", false},
		{"out of a folder and into the next", "/a", "/a/ /a/b/ /a/b/c/ /a/b/c/d /a/e/ /a/e/f", false},
		{"all", "/", "/ /a/ /a/b /c", false},
		{"not all", "/ ", "/a", true},
		{"siblings of a folder", "/a", "/a/ /a/b/ /a/b/c /a/b! /a/b0", false},
		{"twice", "/a", "/a/ /a/b /a/b", true},
		{"out of order", "/a", "/a/ /a/c /a/b", true},
		{"folder's content after its sibling", "/a", "/a/ /a/b/ /a/b! /a/b/c", true},
		{"no root", "/a", "/a/ /b", true},
		{"root's name is longer", "/a", "/a/ /ab", true},
		{"below a file", "/a", "/a/ /a/b /a/b/c", true},
		{"below nothing", "/a", "/a/ /a/b/c", true},
		{"below a root that is not there", "/a", "/a/b", true},
		{"below a folder that has ended", "/a", "/a/ /a/b/ /a/c /a/d/e", true},
		{"below a root that is a file", "/a /b", "/a /a/b", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := format.Sequence{Roots: strings.Fields(c.roots)}
			var err error
			for path := range strings.FieldsSeq(c.entries) {
				e := format.Entry{Path: path, Type: format.TypeSymlink}
				if len(path) == 1 || strings.HasSuffix(path, "/") {
					e.Type = format.TypeDir
					e.Path = "/" + strings.Trim(path, "/")
				}
				if err = s.Next(&e); err != nil {
					break
				}
			}
			if c.refused {
				require.ErrorIs(t, err, format.ErrDamaged)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

// The order is that of a walk which sorts the names in each folder.
func TestOrderIsThatOfAWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var paths []string
	for range 400 {
		paths = append(paths, randomPath(r))
	}
	byParts := slices.Clone(paths)
	slices.SortFunc(byParts, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
	slices.SortFunc(paths, format.ComparePaths)
	require.Equal(t, byParts, paths)
	require.True(t, format.Below("/", "/a") && format.Below("/a", "/a") && format.Below("/a", "/a/b"))
	require.False(t, format.Below("/a", "/ab") || format.Below("/a/b", "/a") || format.Below("/a", "/"))
}
