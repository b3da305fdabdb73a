package integrity

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// forest is a tree that was made, and where its entries are.
type forest struct {
	root   string
	random *rand.Rand
	by     map[form][]string
}

func (r *rig) grow() *forest {
	f := &forest{root: r.tree, random: rand.New(rand.NewPCG(4, 2026)), by: map[form][]string{}}
	f.by[folderForm] = []string{r.tree}
	for i := range grownFolders {
		path := filepath.Join(f.any(folderForm), fmt.Sprintf("folder%d", i))
		require.NoError(r.t, os.Mkdir(path, 0o755))
		f.by[folderForm] = append(f.by[folderForm], path)
	}
	for i := range grownFiles {
		path := filepath.Join(f.any(folderForm), fmt.Sprintf("file%d", i))
		content := fmt.Sprintf("%d:%s", i, strings.Repeat("x", f.random.IntN(500)))
		require.NoError(r.t, os.WriteFile(path, []byte(content), 0o644))
		f.by[file] = append(f.by[file], path)
	}
	for i := range grownLinks {
		path := filepath.Join(f.any(folderForm), fmt.Sprintf("link%d", i))
		require.NoError(r.t, os.Symlink(fmt.Sprintf("%s#%d", f.any(file), i), path))
		f.by[symlink] = append(f.by[symlink], path)
	}
	return f
}

func (f *forest) any(kind form) string { return f.by[kind][f.random.IntN(len(f.by[kind]))] }

// pick returns random places; folders may come more than once where entries are added.
func (f *forest) pick(m mutation, n int) []string {
	all := f.by[m.at]
	var places []string
	for _, i := range f.random.Perm(len(all)) {
		places = append(places, all[i])
	}
	for m.want == KindAdded && len(places) < n {
		places = append(places, f.any(folderForm))
	}
	return places[:min(n, len(places))]
}

// apply tampers with the places and returns what must be found, sorted.
func (f *forest) apply(t *testing.T, m mutation, places []string) []string {
	var want []string
	for n, path := range places {
		m.do(t, path, n)
		if m.want == KindAdded {
			path = addedName(path, n)
		}
		rel, err := filepath.Rel(f.root, path)
		require.NoError(t, err)
		want = append(want, string(m.want)+" "+rel)
	}
	slices.Sort(want)
	return want
}

// save returns what puts the places back as they are now, but for their times.
func (f *forest) save(t *testing.T, places []string) func(t *testing.T) {
	was := map[string]seen{}
	content := map[string][]byte{}
	look := newReader()
	for _, path := range places {
		was[path] = look.observe(path, f.root)
		if was[path].form == file {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			content[path] = data
		}
	}
	return func(t *testing.T) {
		for n, path := range places {
			s := was[path]
			switch s.form {
			case folderForm:
				_ = os.Remove(addedName(path, n))
			case file:
				_ = os.Remove(renamedName(path, n))
				_ = os.Remove(path)
				require.NoError(t, os.WriteFile(path, content[path], 0o600))
			case symlink:
				_ = os.Remove(path)
				require.NoError(t, os.Symlink(s.link, path))
			default:
			}
			require.NoError(t, os.Lchown(path, int(s.uid), int(s.gid)))
			if s.form != symlink {
				require.NoError(t, unix.Chmod(path, s.mode))
			}
		}
	}
}
