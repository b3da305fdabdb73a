package checkpoint

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func TestCompareTellsTheKindsOfChange(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	for _, name := range []string{"same", "touched", "grown", "shrunk", "edited", "mode", "gone", "typed", "cache/x"} {
		write(t, dir+"/"+name, "12345")
	}
	require.NoError(t, os.Symlink("same", dir+"/link"))
	state := config.State{Paths: []string{dir}}
	c := take(t, s, "k", state)

	require.NoError(t, os.Chtimes(dir+"/touched", time.Now(), time.Unix(1, 0)))
	write(t, dir+"/grown", "123456")
	write(t, dir+"/shrunk", "1")
	write(t, dir+"/edited", "54321")
	require.NoError(t, os.Chmod(dir+"/mode", 0o600))
	require.NoError(t, os.Remove(dir+"/gone"))
	require.NoError(t, os.Remove(dir+"/typed"))
	require.NoError(t, os.Mkdir(dir+"/typed", 0o755))
	require.NoError(t, os.Remove(dir+"/link"))
	require.NoError(t, os.Symlink("gone", dir+"/link"))
	write(t, dir+"/new", "1")
	write(t, dir+"/cache/x", "other")
	state.Exclude = []string{"cache/**"}
	d, err := s.Compare(context.Background(), c, state)
	require.NoError(t, err)
	got := map[string]ChangeKind{}
	for _, ch := range d.Changes {
		got[ch.Path[len(dir)+1:]] = ch.Kind
	}
	require.Equal(t, map[string]ChangeKind{
		"grown": Changed, "shrunk": Shrunk, "edited": Changed, "mode": Changed, "gone": Removed,
		"typed": Changed, "link": Changed, "new": Added,
	}, got)
	require.Equal(t, "1 added, 1 removed, 5 changed, 1 shrunk, 3 unchanged", d.String())
}

func TestJudge(t *testing.T) {
	change := func(path string, kind ChangeKind) Change { return Change{Path: path, Kind: kind} }
	all := []Change{change("/d/a", Added), change("/d/c", Changed), change("/d/r", Removed), change("/d/s", Shrunk)}
	cases := map[string]struct {
		rules   []config.Rule
		reasons []string
	}{
		"default": {nil, []string{"/d/r was removed, and no rule allows it"}},
		"allowed": {[]config.Rule{{Match: "/d/**", Allow: []string{"added", "changed", "removed", "shrunk"}}}, nil},
		"first match holds": {
			[]config.Rule{{Match: "/d/s"}, {Match: "/d/*", Allow: []string{"removed", "shrunk", "added", "changed"}}},
			[]string{"/d/s was shrunk, which rule 1 (/d/s) does not allow"},
		},
		"other kind": {
			[]config.Rule{{Match: "/d/[rs]", Allow: []string{"removed"}}},
			[]string{"/d/s was shrunk, which rule 1 (/d/[rs]) does not allow"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := Delta{Changes: all}.Judge(tc.rules)
			require.Equal(t, tc.reasons, v.Reasons)
			require.Equal(t, len(tc.reasons) == 0, v.Acceptable)
		})
	}
	require.True(t, Delta{}.Judge(nil).Acceptable)
	var many Delta
	for i := range 50 {
		many.Changes = append(many.Changes, change(fmt.Sprintf("/d/%02d", i), Removed))
	}
	v := many.Judge(nil)
	require.Len(t, v.Reasons, maxReasons+1)
	require.Equal(t, "and 30 more", v.Reasons[maxReasons])
}
