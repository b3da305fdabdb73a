package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

func TestTooLittleRoomIsSeenBefore(t *testing.T) {
	dir := t.TempDir() + "/fs"
	testenv.Tmpfs(t, dir, "size=4m,nr_inodes=40")
	write(t, dir+"/tree/data", strings.Repeat("x", 3<<20))
	g := take(t, dir+"/tree")
	journal := t.TempDir()
	before := picture(t, dir+"/tree")
	_, err := Stage(context.Background(), g, Options{Journal: journal})
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, "3 MB are needed")
	require.Contains(t, shivx.HintOf(err), "in place")
	require.Nil(t, g.checked, "the store was read for nothing")
	same(t, before, picture(t, dir+"/tree"))
	leftovers(t, journal, dir)
	write(t, dir+"/tree/data", "bad")
	_, err = Plan(context.Background(), g, Options{InPlace: true})
	require.NoError(t, err)

	require.NoError(t, os.RemoveAll(dir+"/tree"))
	for i := range 30 {
		write(t, fmt.Sprintf("%s/tree/f%d", dir, i), "x")
	}
	g = take(t, dir+"/tree")
	_, err = Stage(context.Background(), g, Options{Journal: journal})
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, "files more are needed")
}

// hoard is a golden that, when it is told to, fills the disk while it is restored.
type hoard struct {
	*memory
	fill func()
}

func (h *hoard) Block(ctx context.Context, dst []byte, b format.Hash) ([]byte, error) {
	h.fill()
	return h.memory.Block(ctx, dst, b)
}

// The disk becomes full, or read-only, at every step; then there is room again.
func TestADiskThatIsFullAtAnyStep(t *testing.T) {
	for name, how := range map[string]func(t *testing.T, dir string, on bool){
		"full": fillDisk, "read-only": freeze,
	} {
		for kind, inPlace := range map[string]bool{"whole": false, "in place": true} {
			t.Run(name+" "+kind, func(t *testing.T) { atEveryStep(t, inPlace, how) })
		}
	}
}

func fillDisk(t *testing.T, dir string, on bool) {
	if !on {
		require.NoError(t, os.Remove(dir+"/hoard"))
		return
	}
	f, err := os.Create(dir + "/hoard")
	require.NoError(t, err)
	for part := make([]byte, 64<<10); len(part) > 0; {
		if _, err := f.Write(part); err != nil {
			part = part[:len(part)/2]
		}
	}
	require.NoError(t, f.Close())
}

func freeze(t *testing.T, dir string, on bool) {
	flags := uintptr(unix.MS_REMOUNT)
	if on {
		flags |= unix.MS_RDONLY
	}
	err := unix.Mount("", dir, "", flags, "")
	for range 100 { // a file that is just being written keeps it from that
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		err = unix.Mount("", dir, "", flags, "")
	}
	if errors.Is(err, unix.EBUSY) {
		return
	}
	require.NoError(t, err)
}

func atEveryStep(t *testing.T, inPlace bool, how func(*testing.T, string, bool)) {
	k := task{InPlace: inPlace}
	s := newScene(t, k, false)
	if strings.Contains(t.Name(), "read-only") {
		s.task.Journal = t.TempDir() // what is open to be written keeps a file system from that
	}
	g, err := loadGolden(s.task.Golden)
	require.NoError(t, err)
	outcomes := map[string]int{}
	for n := 1; ; n++ {
		s.reset(t)
		steps, struck := 0, false
		o := Options{Journal: s.task.Journal, InPlace: inPlace, Workers: 1, step: func(string) {
			if steps++; steps == n {
				struck = true
				how(t, s.dir, true)
			}
		}}
		outcome := s.try(t, &hoard{memory: g, fill: func() {}}, o, func() {
			if struck {
				how(t, s.dir, false)
				struck = false
			}
		})
		outcomes[outcome]++
		if steps < n {
			break
		}
	}
	t.Log(outcomes)
	require.Greater(t, len(outcomes), 1)
}

// try restores; what fails is undone, first as it is and then with room.
func (s *scene) try(t *testing.T, g Golden, o Options, room func()) string {
	ctx := context.Background()
	st, err := Stage(ctx, g, o)
	if err != nil {
		// Where even the discarding failed, the journal has it.
		room()
		s.resumeAll(t)
		same(t, s.bad, picture(t, s.roots...))
		return "not staged"
	}
	if _, err := st.Swap(ctx); err != nil {
		if st.State() == StateStaged {
			room()
			require.NoError(t, st.Discard(ctx))
			same(t, s.bad, picture(t, s.roots...))
			return "not swapped"
		}
		if st.Undo(ctx) != nil {
			room()
			require.NoError(t, st.Undo(ctx))
		}
		room()
		same(t, s.bad, picture(t, s.roots...))
		return "undone"
	}
	if err := st.Finish(ctx, false); err != nil {
		room()
		s.isNew(t)
		require.NoError(t, st.Finish(ctx, false))
		return "finished later"
	}
	room()
	s.isNew(t)
	return "finished"
}

func (s *scene) resumeAll(t *testing.T) {
	pending, err := Pending(s.task.Journal)
	require.NoError(t, err)
	for _, j := range pending {
		_, err := Resume(context.Background(), j)
		require.NoError(t, err)
	}
	require.NoError(t, sweep(s.task.Journal))
	leftovers(t, s.task.Journal, s.dir+"/live")
}

// An undo needs files of its own, which were made before.
func TestUndoWhereNoFileCanBeMade(t *testing.T) {
	s := newScene(t, task{}, false)
	journals := t.TempDir() + "/journals"
	testenv.Tmpfs(t, journals, "size=8m,nr_inodes=1000")
	g, err := loadGolden(s.task.Golden)
	require.NoError(t, err)
	for _, inPlace := range []bool{false, true} {
		s.reset(t)
		st, err := Stage(t.Context(), g, Options{Journal: journals, InPlace: inPlace})
		require.NoError(t, err)
		_, err = st.Swap(t.Context())
		require.NoError(t, err)
		var fs unix.Statfs_t
		require.NoError(t, unix.Statfs(journals, &fs))
		require.NoError(t, unix.Mount("", journals, "", unix.MS_REMOUNT, fmt.Sprintf("nr_inodes=%d", fs.Files-fs.Ffree)))
		require.ErrorIs(t, os.WriteFile(journals+"/more", nil, 0o600), unix.ENOSPC)
		require.NoError(t, st.Undo(t.Context()))
		same(t, s.bad, picture(t, s.roots...))
		require.NoError(t, unix.Mount("", journals, "", unix.MS_REMOUNT, "nr_inodes=1000"))
	}
}

func TestAReadOnlyFileSystemIsSeenBefore(t *testing.T) {
	dir := t.TempDir() + "/fs"
	testenv.Tmpfs(t, dir, "size=4m")
	write(t, dir+"/tree/data", "good")
	g := take(t, dir+"/tree")
	write(t, dir+"/tree/data", "bad")
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, inPlace := range []bool{false, true} {
		_, err := Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: inPlace})
		require.ErrorIs(t, err, syscall.EROFS)
		require.NotEmpty(t, shivx.HintOf(err))
		require.Nil(t, g.checked)
	}
}
