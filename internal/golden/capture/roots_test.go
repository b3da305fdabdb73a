package capture

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

func TestRootsAreCleanedAndMerged(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a/b/c", "1")
	write(t, dir+"/a-b", "2")
	write(t, dir+"/file", "3")
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{
		dir + "/file", dir + "/a/b", dir + "/a-b", dir + "/a/", dir + "/./a", dir + "/none/at/all", dir + "/file/below", dir + "/a/b/c",
	}})
	require.Equal(t, []string{dir + "/a", dir + "/a-b", dir + "/file", dir + "/none/at/all"}, r.Roots)
	require.Equal(t, []string{dir + "/none/at/all"}, r.Missing)
	require.Equal(t, []string{dir + "/a", dir + "/a/b", dir + "/a/b/c", dir + "/a-b", dir + "/file"}, m.paths())
}

func TestRefusedOptions(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir+"/a/b/file", "")
	require.NoError(t, os.Symlink("a", dir+"/link"))
	require.NoError(t, os.Symlink("nowhere", dir+"/broken"))
	require.NoError(t, unix.Mkfifo(dir+"/pipe", 0o600))
	for _, c := range []struct {
		name       string
		o          Options
		want, hint string
	}{
		{"no roots", Options{}, "no roots", "name the folders"},
		{"relative root", Options{Roots: []string{"etc"}}, `root "etc" is not an absolute path`, "begin it with /"},
		{"NUL", Options{Roots: []string{"/a\x00b"}}, "not an absolute path", ""},
		{"link", Options{Roots: []string{dir + "/link"}}, "is a symbolic link", "name its target, " + dir + "/a"},
		{"broken link", Options{Roots: []string{dir + "/broken"}}, "is a symbolic link", "nowhere"},
		{"link below another root", Options{Roots: []string{dir, dir + "/link"}}, "is a symbolic link", "/a"},
		{"pipe", Options{Roots: []string{dir + "/pipe"}}, "neither a folder nor a file", "remove it"},
		{"excluded root", Options{Roots: []string{dir}, Exclude: []string{dir}}, "is excluded by the pattern", "narrower"},
		{"root below an excluded folder", Options{Roots: []string{dir, dir + "/a/b"}, Exclude: []string{"/**/a"}}, "is excluded by the pattern", "narrower"},
		{"bad pattern", Options{Roots: []string{dir}, Exclude: []string{"/[a"}}, "not a glob pattern", ""},
		{"relative pattern", Options{Roots: []string{dir}, Exclude: []string{"*.tmp"}}, "not absolute", "/**/.tmp"},
		{"pattern with a slash at its end", Options{Roots: []string{dir}, Exclude: []string{"/a/"}}, "matches nothing", "remove the slash"},
		{"overlay below no root", Options{Roots: []string{dir + "/a"}, Overlays: map[string]string{dir + "/x": file}}, "lies below no root", "roots"},
		{"relative overlay", Options{Roots: []string{dir}, Overlays: map[string]string{"x": file}}, "overlay \"x\" is not an absolute path", ""},
		{"relative replacement", Options{Roots: []string{dir}, Overlays: map[string]string{dir + "/x": "x"}}, "replacement \"x\"", ""},
		{"overlay named twice", Options{Roots: []string{dir}, Overlays: map[string]string{dir + "/x": file, dir + "/./x": file}}, "named twice", ""},
		{"overlay in an excluded folder", Options{Roots: []string{dir}, Exclude: []string{dir + "/a/**"}, Overlays: map[string]string{dir + "/a/x": file}}, "which the pattern", dir + "/a/*"},
		{"overlay that is absent", Options{Roots: []string{dir}, Absent: []string{dir + "/x"}, Overlays: map[string]string{dir + "/x": file}}, "absent too", ""},
		{"relative absent path", Options{Roots: []string{dir}, Absent: []string{"x"}}, `absent "x"`, ""},
		{"overlay in a missing folder", Options{Roots: []string{dir}, Overlays: map[string]string{dir + "/no/x": file}}, "is missing or was not entered", "make the folder"},
		{"missing replacement", Options{Roots: []string{dir}, Overlays: map[string]string{dir + "/x": dir + "/none"}}, "no such file", "make the export first"},
		{"replacement is a link", Options{Roots: []string{dir}, Overlays: map[string]string{dir + "/x": dir + "/link"}}, "neither a folder nor a file", "export"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Run(t.Context(), newMemory(), c.o)
			require.ErrorContains(t, err, c.want)
			require.Contains(t, shivx.HintOf(err), c.hint)
		})
	}
}

func TestExclude(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"/a/keep", "/a/x.tmp", "/cache/1", "/b/cache/2", "/b/c/x.tmp", "/b/c/y.log", "/logs/old/1", "/logs/new", "/odd\n\xff/f.tmp", "/odd\n\xff/g"} {
		write(t, dir+p, "")
	}
	for _, c := range []struct {
		exclude, gone []string
	}{
		{nil, nil},
		{[]string{"/**/*.tmp"}, []string{"/a/x.tmp", "/b/c/x.tmp", "/odd\n\xff/f.tmp"}},
		{[]string{dir + "/**/*.{tmp,log}"}, []string{"/a/x.tmp", "/b/c/x.tmp", "/b/c/y.log", "/odd\n\xff/f.tmp"}},
		{[]string{"/**/cache"}, []string{"/cache", "/cache/1", "/b/cache", "/b/cache/2"}},
		{[]string{dir + "/logs/**"}, []string{"/logs", "/logs/old", "/logs/old/1", "/logs/new"}},
		{[]string{dir + "/logs/*"}, []string{"/logs/old", "/logs/old/1", "/logs/new"}},
		{[]string{dir + "/b/c", dir + "/a/keep"}, []string{"/b/c", "/b/c/x.tmp", "/b/c/y.log", "/a/keep"}},
		{[]string{dir + "/?/[k-z]*"}, []string{"/a/keep", "/a/x.tmp"}},
		{[]string{dir + "/b/c/d/e", dir + "/bb", dir + "/log", dir + "/a/keep/x"}, nil},
	} {
		all, some := newMemory(), newMemory()
		capture(t, all, Options{Roots: []string{dir}})
		listed := map[string]bool{}
		capture(t, some, Options{Roots: []string{dir}, Exclude: c.exclude, Workers: 1, trace: once(listed)})
		var want []string
		for _, p := range all.paths() {
			excluded := false
			for _, g := range c.gone {
				excluded = excluded || p == dir+g
			}
			if !excluded {
				want = append(want, p)
			}
		}
		require.Len(t, want, len(all.entries)-len(c.gone))
		require.Equal(t, want, some.paths(), c.exclude)
		for _, g := range c.gone {
			require.NotContains(t, listed, dir+g)
		}
		require.Contains(t, listed, dir+"/a")
	}
}

// The quick tests before a glob is matched must not decide otherwise than the glob.
func TestExcludeAgreesWithItsGlobs(t *testing.T) {
	globs := []string{"/**", "/a/**", "/a*", "/a/b", "/**/b", "/**/b/**", "/*/b.x", "/{a,b}/*", "/a/?", `/a\*`, "/**/*.x", "/a/[a-c]/x", "/**/a*/b"}
	paths := []string{"/", "/a", "/b", "/a*", "/ab", "/a/b", "/a/b.x", "/b/b", "/b/b.x", "/a/b/c", "/a/c/x", "/x/y/a1/b", "/c/d.x", "/a/b/x"}
	for _, g := range globs {
		ps, err := compile([]string{g})
		require.NoError(t, err)
		for _, p := range paths {
			_, want := ps.find(p)
			prefix, name := split(p)
			require.Equal(t, want, ps.within(prefix).match(prefix, name), "%s %s", g, p)
		}
	}
}

func TestAbsent(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"/a/db", "/a/db-wal", "/a/db-wal.x", "/b/c/d", "/e"} {
		write(t, dir+p, "")
	}
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir + "/a", dir + "/b", dir + "/e"}, Absent: []string{dir + "/a/db-wal", dir + "/b/c", dir + "/e", dir + "/none"}})
	require.Equal(t, []string{dir + "/a", dir + "/a/db", dir + "/a/db-wal.x", dir + "/b"}, m.paths())
	require.Equal(t, []string{dir + "/e"}, r.Missing)
}
