package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

func scrubbed(t testing.TB, s *Store, o ScrubOptions) *ScrubReport {
	t.Helper()
	r, err := s.Scrub(t.Context(), o)
	require.NoError(t, err)
	return r
}

func kinds(r *ScrubReport) map[ProblemKind]int {
	k := map[ProblemKind]int{}
	for _, p := range r.Problems {
		k[p.Kind]++
	}
	return k
}

func fileSet(seed uint64, n, size int) map[string][]byte {
	all := map[string][]byte{}
	for i := range n {
		all[fmt.Sprintf("/etc/%04d", i)] = noise(seed*1000+uint64(i), size)
	}
	return all
}

func TestScrubFindsNothingInAWholeStore(t *testing.T) {
	for name, o := range map[string]Options{"plain": options(), "encrypted": sealedOptions(t)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Create(t.Context(), labFolder(t, dir), o)
			require.NoError(t, err)
			defer s.Close()
			st := &lab{Store: s, options: o}
			st.backup(t, "etc", fileSet(1, 50, 30_000))
			st.backup(t, "etc", fileSet(2, 50, 30_000))
			_, err = st.Protect(t.Context(), ParityOptions{})
			require.NoError(t, err)
			r := scrubbed(t, s, ScrubOptions{})
			require.Empty(t, r.Problems)
			require.Empty(t, r.Position)
			require.False(t, r.Damaged())
			require.Greater(t, r.Bytes, dirSize(dir)*95/100)

			o := o
			o.Identities, o.Recipients = nil, nil
			locked := openStore(t, dir, o)
			require.Empty(t, scrubbed(t, locked, ScrubOptions{}).Problems, "without the identity as well")
		})
	}
}

// Whatever byte is damaged is found, and where there is parity it is repaired.
func TestScrubFindsAndRepairsEveryDamagedByte(t *testing.T) {
	dir := memoryDir(t)
	st := newLab(t, labFolder(t, dir))
	st.backup(t, "etc", fileSet(1, 20, 2_000))
	st.backup(t, "web", fileSet(2, 20, 2_000))
	_, err := st.Protect(t.Context(), ParityOptions{})
	require.NoError(t, err)
	whole := storeFiles(t, dir)
	names := []string{}
	for name := range whole {
		if filepath.Base(name) != lockName {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 300 {
		name := names[i%len(names)]
		path := name
		switch i / len(names) % 8 {
		case 6:
			kept := len(whole[name]) - 1 - r.IntN(min(len(whole[name]), 4000)) // as much as parity bears
			require.NoError(t, os.Truncate(path, int64(max(0, kept))))
		case 7:
			require.NoError(t, os.WriteFile(path, append(slices.Clone(whole[name]), 'x'), 0o600))
		default:
			spoil(t, path, r.Int64N(int64(len(whole[name]))), 1)
		}
		report := scrubbed(t, st.Store, ScrubOptions{Repair: true})
		require.NotEmpty(t, report.Problems, "%s is damaged", name)
		require.False(t, report.Damaged(), "%+v", report.Problems)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, whole[name], got, "%s is as it was", name)
	}
	require.NoDirExists(t, filepath.Join(dir, "quarantine"))
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
}

func TestScrubSaysWhatSuffers(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	first := st.backup(t, "etc", fileSet(1, 30, 10_000))
	second := st.backup(t, "etc", map[string][]byte{"/etc/0001": noise(1001, 10_000), "/etc/new": noise(7, 10_000)})
	pack := first.Header().Packs[0]
	index, err := st.packIndex(t.Context(), pack)
	require.NoError(t, err)
	of := func(data []byte) int64 {
		for at, b := range index.blocks {
			if b.ID == format.Sum(data) {
				return at
			}
		}
		return -1
	}
	spoil(t, filepath.Join(dir, packName(pack)), of(noise(1005, 10_000))+5, 1)
	r := scrubbed(t, st.Store, ScrubOptions{})
	require.Len(t, r.Problems, 1)
	require.Equal(t, []Affected{{Set: "etc", ID: first.Header().ID, Files: []string{"/etc/0005"}, Count: 1}}, r.Problems[0].Goldens)

	spoil(t, filepath.Join(dir, packName(pack)), of(noise(1001, 10_000))+5, 1)
	r = scrubbed(t, st.Store, ScrubOptions{})
	require.Len(t, r.Problems, 1)
	require.Len(t, r.Problems[0].Damages, 2)
	require.Equal(t, []Affected{
		{Set: "etc", ID: second.Header().ID, Files: []string{"/etc/0001"}, Count: 1},
		{Set: "etc", ID: first.Header().ID, Files: []string{"/etc/0001", "/etc/0005"}, Count: 2},
	}, r.Problems[0].Goldens)

	// Without parity nothing is changed, unless somebody asks for what is whole to be saved. A new backup stores
	// what is lost.
	before := storeFiles(t, dir)
	r = scrubbed(t, st.Store, ScrubOptions{Repair: true})
	require.True(t, r.Damaged())
	require.Equal(t, before, storeFiles(t, dir))
	r = scrubbed(t, st.Store, ScrubOptions{Repair: true, Salvage: true})
	require.Len(t, r.Problems, 1)
	require.ErrorIs(t, r.Problems[0].Err, ErrUnrepairable)
	require.Contains(t, shivx.HintOf(r.Problems[0].Err), "new backup")
	require.True(t, r.Problems[0].Salvaged)
	require.FileExists(t, filepath.Join(dir, quarantineDir, packName(pack)+".1"))
	third := st.backup(t, "etc", fileSet(1, 30, 10_000))
	require.NoError(t, third.Check(t.Context(), nil, nil))
	again, err := st.Find(t.Context(), first.Header().ID)
	require.NoError(t, err)
	for i := range 30 {
		_, err := again.Block(t.Context(), nil, format.Sum(noise(1000+uint64(i), 10_000)))
		if i == 1 || i == 5 {
			require.ErrorIs(t, err, format.ErrDamaged)
		} else {
			require.NoError(t, err, "file %d of the damaged golden can still be restored", i)
		}
	}

	// The blocks that are lost are in a pack again, but not in one of the old goldens.
	r = scrubbed(t, st.Store, ScrubOptions{Repair: true})
	require.Equal(t, map[ProblemKind]int{ProblemDamaged: 2}, kinds(r))
	for _, p := range r.Problems {
		require.ErrorIs(t, p.Err, ErrUnrepairable)
		require.Contains(t, shivx.HintOf(p.Err), "remove this golden")
	}
}

// A block that lies in two packs is looked for in those of the golden.
func TestScrubOfBlocksThatAreStoredTwice(t *testing.T) {
	st := newLab(t, labFolder(t, t.TempDir()))
	ctx := t.Context()
	var writers []*Writer
	for range 2 { // both begin before the other has anything
		w, err := st.Begin(ctx)
		require.NoError(t, err)
		writers = append(writers, w)
	}
	data := noise(1, 1000)
	for _, w := range writers {
		l := w.Lane()
		require.NoError(t, l.Put(ctx, format.Sum(data), data))
		require.NoError(t, l.Put(ctx, format.Sum([]byte(w.ID())), []byte(w.ID())))
		require.NoError(t, l.Close())
		require.NoError(t, w.Entry(entryOf("/tree/a", data)))
		_, err := w.Commit(ctx, testHeader("web"))
		require.NoError(t, err)
	}
	require.Len(t, namesOf(t, st.backend, packsDir), 2)
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
}

func TestScrubReportsWhatIsOdd(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	g := st.backup(t, "etc", fileSet(1, 3, 1000))
	other := &lab{Store: openStore(t, dir, Options{Key: testKey(2)})}
	foreign := other.backup(t, "etc", fileSet(2, 3, 1000))
	_, err := st.Protect(t.Context(), ParityOptions{})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, packName(g.Header().Packs[0]))))
	require.NoError(t, os.Remove(filepath.Join(dir, goldenName("etc", foreign.Header().ID))))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "packs", "notes.txt"), []byte("mine"), 0o600))
	last := other.backup(t, "etc", fileSet(3, 3, 1000))

	r := scrubbed(t, st.Store, ScrubOptions{})
	require.Equal(t, map[ProblemKind]int{
		ProblemMissing: 1, ProblemForeign: 1, ProblemUntrusted: 1, ProblemOrphan: 1, ProblemParity: 2,
	}, kinds(r))
	require.True(t, r.Damaged())
	for _, p := range r.Problems {
		switch p.Kind { //nolint:exhaustive // the others say all by their kind
		case ProblemMissing:
			require.Equal(t, []Affected{{Set: "etc", ID: g.Header().ID}}, p.Goldens)
		case ProblemUntrusted:
			require.Equal(t, goldenName("etc", last.Header().ID), p.Name)
			require.ErrorIs(t, p.Err, ErrUntrusted)
		case ProblemOrphan:
			require.Equal(t, packName(foreign.Header().Packs[0]), p.Name)
		}
	}
	// A lost pack of this size is rebuilt, as its parity is a copy.
	r = scrubbed(t, st.Store, ScrubOptions{Repair: true})
	require.False(t, r.Damaged())
	require.NoError(t, g.Check(t.Context(), nil, nil))
}

func TestScrubGoesOnAnotherNight(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	for i := range uint64(12) {
		st.backup(t, "etc", fileSet(i, 2, 5_000))
	}
	bad := namesOf(t, st.backend, packsDir)
	for _, name := range bad {
		spoil(t, filepath.Join(dir, name), 1000, 1)
	}
	o := ScrubOptions{For: time.Nanosecond}
	found, nights := 0, 0
	for {
		last := ScrubProgress{}
		o.Progress = func(p ScrubProgress) { last = p }
		r := scrubbed(t, st.Store, o)
		found += kinds(r)[ProblemDamaged]
		nights++
		require.Positive(t, r.Objects)
		require.Equal(t, r.Objects, last.Objects)
		if r.Position == "" {
			break
		}
		require.Greater(t, r.Position, o.From)
		require.Equal(t, r.Position, last.Position)
		o.From = r.Position
	}
	require.Equal(t, len(bad), found, "each is found once")
	require.Greater(t, nights, 3)
}

func TestScrubKeepsItsRate(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	st.backup(t, "etc", fileSet(1, 10, 100_000))
	begun := time.Now()
	r := scrubbed(t, st.Store, ScrubOptions{Rate: 4_000_000})
	require.Empty(t, r.Problems)
	require.GreaterOrEqual(t, time.Since(begun), time.Duration(float64(r.Bytes)/4e6*float64(time.Second))*9/10)
}
