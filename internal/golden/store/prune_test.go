package store

import (
	"context"
	"crypto/ed25519"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

func TestPolicyKeeps(t *testing.T) {
	// Twelve goldens, each twelve hours after the one before; the newest is of noon.
	now := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC) // a Monday
	zone := time.FixedZone("east", 13*3600)               // where noon is already tomorrow
	cases := map[string]struct {
		policy Policy
		want   []int
	}{
		"nothing is said":  {Policy{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		"last":             {Policy{Last: 3}, []int{0, 1, 2}},
		"daily":            {Policy{Daily: 3}, []int{0, 2, 4}},
		"daily elsewhere":  {Policy{Daily: 3, Zone: zone}, []int{0, 1, 3}},
		"weekly":           {Policy{Weekly: 2}, []int{0, 2}},
		"weekly elsewhere": {Policy{Weekly: 2, Zone: zone}, []int{0, 3}},
		"monthly":          {Policy{Monthly: 12}, []int{0}},
		"together":         {Policy{Last: 2, Daily: 2, Weekly: 2}, []int{0, 1, 2}},
		"young":            {Policy{Last: 1, MinAge: 26 * time.Hour}, []int{0, 1, 2}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var fates []*Fate
			for i := range 12 {
				fates = append(fates, &Fate{Created: now.Add(-time.Hour - time.Duration(12*i)*time.Hour), golden: &counted{}})
			}
			c.policy.decide(fates, now)
			var kept []int
			for i, f := range fates {
				require.NotEmpty(t, f.Why)
				if f.Keep {
					kept = append(kept, i)
				}
			}
			require.Equal(t, c.want, kept)
		})
	}
}

func TestClockIsDoubted(t *testing.T) {
	day := 24 * time.Hour
	now := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	ago := func(all ...time.Duration) []time.Time {
		var times []time.Time
		for _, d := range all {
			times = append(times, now.Add(-d))
		}
		return times
	}
	good := map[string][]time.Time{
		"none": nil, "daily": ago(day, 2*day, 3*day), "other host's clock": ago(-30*time.Minute, day),
		"monthly": ago(31*day, 61*day, 92*day), "a gap long ago": ago(day, 2*day, 8*day, 400*day, 401*day),
		"yearly": ago(300*day, 660*day, 1000*day),
	}
	for name, times := range good {
		require.NoError(t, checkClock(now, times), name)
	}
	bad := map[string][]time.Time{
		"set back": ago(-3*time.Hour, day), "set forward": ago(400*day, 401*day, 402*day),
		"set forward, and a backup since": ago(time.Hour, 400*day, 401*day, 402*day),
	}
	for name, times := range bad {
		err := checkClock(now, times)
		require.ErrorIs(t, err, ErrClock, name)
		require.Contains(t, shivx.HintOf(err), "timedatectl")
	}
}

// daily makes goldens of the last days. Each has a third of its files from the one before, a third goes
// on to the next, and a third is its own.
func daily(t testing.TB, st *lab, days int) (goldens []*Golden, now time.Time) {
	t.Helper()
	now = time.Now()
	for i := range days {
		st.at = now.Add(-time.Duration(days-1-i)*24*time.Hour - time.Minute)
		data := fileSet(uint64(i), 5, 20_000)
		for p, d := range fileSet(uint64(i)+1, 5, 20_000) {
			data[p+"-next"] = d
		}
		for p, d := range fileSet(uint64(i)+1000, 5, 20_000) {
			data[p+"-own"] = d
		}
		goldens = append(goldens, st.backup(t, "etc", data))
	}
	st.at = time.Time{}
	return goldens, now
}

func keepLast(n int) func(format.Header) Policy {
	return func(format.Header) Policy { return Policy{Last: n} }
}

func requireAllGood(t testing.TB, s *Store) int {
	t.Helper()
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	for _, i := range all {
		require.NoError(t, i.Err)
		g, err := s.Find(t.Context(), i.Set+"/"+i.ID)
		require.NoError(t, err)
		require.NoError(t, g.Check(t.Context(), nil, nil))
		_, err = read(t.Context(), g)
		require.NoError(t, err)
	}
	return len(all)
}

func TestPruneRemovesWhatNobodyNeeds(t *testing.T) {
	for name, o := range map[string]Options{"plain": options(), "encrypted": sealedOptions(t)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Create(t.Context(), labFolder(t, dir), o)
			require.NoError(t, err)
			defer s.Close()
			st := &lab{Store: s}
			_, _ = daily(t, st, 10)
			_, err = s.Protect(t.Context(), ParityOptions{})
			require.NoError(t, err)
			before := maps.Clone(storeFiles(t, dir))

			prune := PruneOptions{Policy: keepLast(3), Repack: 0.6, Parity: &ParityOptions{}}
			plan, err := s.PlanPrune(t.Context(), prune)
			require.NoError(t, err)
			require.Equal(t, before, storeFiles(t, dir), "a plan changes nothing")
			require.Len(t, plan.Goldens, 10)
			for i, f := range plan.Goldens {
				require.Equal(t, i < 3, f.Keep)
				require.NotEmpty(t, f.Why)
			}
			require.Positive(t, plan.Freed)
			size := dirSize(filepath.Join(dir, "packs"))

			r, err := s.Prune(t.Context(), prune)
			require.NoError(t, err)
			require.Equal(t, plan.Goldens, unlinked(r.Plan.Goldens, plan.Goldens))
			require.Equal(t, 7, r.Goldens)
			require.Equal(t, 7, r.Packs, "of one more half is needed")
			require.Equal(t, 1, r.Written)
			require.Positive(t, r.Rewritten)
			require.InDelta(t, size-plan.Freed, dirSize(filepath.Join(dir, "packs")), 2000)
			require.Equal(t, 3, requireAllGood(t, s))
			require.Empty(t, scrubbed(t, s, ScrubOptions{}).Problems, "with the parity of what was written anew")

			r, err = s.Prune(t.Context(), prune)
			require.NoError(t, err)
			require.Zero(t, r.Goldens+r.Packs+r.Written+r.Rewritten, "there is nothing left to do")
		})
	}
}

// unlinked gives the fates of a plan the links of another, so that the rest can be compared.
func unlinked(fates, of []Fate) []Fate {
	for i := range fates {
		fates[i].golden = of[i].golden
	}
	return fates
}

func TestPruneKeepsSegmentsByteForByte(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	goldens, _ := daily(t, st, 3)
	tail := func(g *Golden) string {
		data, err := os.ReadFile(filepath.Join(dir, g.name))
		require.NoError(t, err)
		lines := strings.SplitN(string(data), "\n", 3)
		return lines[2]
	}
	before := tail(goldens[2])
	r, err := st.Prune(t.Context(), PruneOptions{Policy: keepLast(1), Repack: 0.9})
	require.NoError(t, err)
	require.Equal(t, 1, r.Rewritten)
	g, err := st.Find(t.Context(), goldens[2].Header().ID)
	require.NoError(t, err)
	require.Equal(t, before, tail(g))
	h, old := g.Header(), goldens[2].Header()
	require.NotEqual(t, old.Packs, h.Packs)
	h.Packs = old.Packs
	require.Equal(t, old, h)
}

func TestPruneKeepsWhatIsProtected(t *testing.T) {
	st := newLab(t, labFolder(t, t.TempDir()))
	now := time.Now()
	make := func(days int, h format.Header) string {
		st.at = now.Add(-time.Duration(days) * 24 * time.Hour)
		h.Set, h.Kind, h.Roots = "etc", format.KindBackup, []string{"/etc"}
		return st.backupAs(t, h, fileSet(uint64(days), 1, 100)).Header().ID
	}
	want := map[string]string{
		make(9, format.Header{Host: "a", Name: "before the move"}):    "named before the move",
		make(8, format.Header{Host: "a", Until: now.Add(time.Hour)}):  "immutable until",
		make(7, format.Header{Host: "a", Until: now.Add(-time.Hour)}): "",
		make(6, format.Header{Host: "b"}):                             "last 1",
		make(3, format.Header{Host: "a"}):                             "",
		make(1, format.Header{Host: "a"}):                             "not older than",
		make(0, format.Header{Host: "a"}):                             "last 1",
	}
	o := PruneOptions{Policy: func(format.Header) Policy { return Policy{Last: 1, MinAge: 36 * time.Hour} }}
	check := func(p *PrunePlan) {
		require.Len(t, p.Goldens, len(want))
		for _, f := range p.Goldens {
			require.Equal(t, want[f.ID] != "", f.Keep, "%s of %s", f.ID, f.Created)
			require.Contains(t, strings.Join(f.Why, ", "), want[f.ID])
		}
	}
	plan, err := st.PlanPrune(t.Context(), o)
	require.NoError(t, err)
	check(plan)

	// Whoever asks for it by name gets rid of a named one, and of no immutable one.
	for id, why := range want {
		if strings.HasPrefix(why, "named") {
			want[id] = ""
		}
		o.Remove = append(o.Remove, id)
	}
	for id, why := range want {
		if why == "last 1" && strings.Contains(id, now.Add(-6*24*time.Hour).UTC().Format("20060102")) {
			want[id] = "the last that is known to be good"
		} else if why == "last 1" {
			want[id] = "not older than"
		}
	}
	plan, err = st.PlanPrune(t.Context(), o)
	require.NoError(t, err)
	check(plan)

	o.Remove = []string{"20200101-000000-abcdef"}
	_, err = st.PlanPrune(t.Context(), o)
	require.ErrorContains(t, err, "no golden 20200101-000000-abcdef")
}

func TestPruneDoubtsTheClock(t *testing.T) {
	st := newLab(t, labFolder(t, t.TempDir()))
	_, now := daily(t, st, 4)
	for _, wrong := range []time.Time{now.Add(-48 * time.Hour), now.Add(3 * 365 * 24 * time.Hour)} {
		o := PruneOptions{Policy: keepLast(1), Now: wrong}
		_, err := st.Prune(t.Context(), o)
		require.ErrorIs(t, err, ErrClock)
		require.Contains(t, shivx.HintOf(err), "--clock-is-right")
		require.Equal(t, 4, requireAllGood(t, st.Store))
		o.Policy = keepLast(4)
		_, err = st.Prune(t.Context(), o)
		require.NoError(t, err, "where none goes, the clock does not matter")
	}
	r, err := st.Prune(t.Context(), PruneOptions{Policy: keepLast(2), Now: now.Add(3 * 365 * 24 * time.Hour), ClockIsRight: true})
	require.NoError(t, err)
	require.Equal(t, 2, r.Goldens)
}

func TestPruneNeverRemovesTheLastGoodOne(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	goldens, _ := daily(t, st, 4)
	// The two newest have lost a file; of the two before the newer one is good.
	for _, g := range goldens[2:] {
		own := format.Sum(noise(uint64(must1(t, goldens, g)+1)*1000, 20_000))
		for _, p := range g.Header().Packs {
			x, err := st.packIndex(t.Context(), p)
			require.NoError(t, err)
			for at, b := range x.blocks {
				if b.ID == own {
					spoil(t, filepath.Join(dir, packName(p)), at, 1)
				}
			}
		}
	}
	r, err := st.Prune(t.Context(), PruneOptions{Policy: keepLast(2)})
	require.NoError(t, err)
	require.Equal(t, 1, r.Goldens)
	require.True(t, r.Plan.Goldens[2].Keep)
	require.Equal(t, []string{"the last that is known to be good"}, r.Plan.Goldens[2].Why)
	require.Contains(t, strings.Join(r.Plan.Goldens[0].Why, ", "), "it is not good")

	g, err := st.Find(t.Context(), goldens[1].Header().ID)
	require.NoError(t, err)
	require.NoError(t, g.Check(t.Context(), nil, nil))
	spoil(t, filepath.Join(dir, packName(g.Header().Packs[0])), 100, 1)
	r, err = st.Prune(t.Context(), PruneOptions{Policy: keepLast(1), Remove: []string{goldens[3].Header().ID}})
	require.NoError(t, err)
	require.Zero(t, r.Goldens, "none is good: none goes")

	// A quick look sees what is missing, and not what is damaged.
	r, err = st.Prune(t.Context(), PruneOptions{Policy: keepLast(2), Quick: true})
	require.NoError(t, err)
	require.Equal(t, 1, r.Goldens)
}

// must1 is the number of the golden.
func must1(t testing.TB, all []*Golden, g *Golden) int {
	t.Helper()
	i := slices.Index(all, g)
	require.GreaterOrEqual(t, i, 0)
	return i
}

func TestPruneSparesPacksOfWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	goldens, _ := daily(t, st, 4)
	packs := len(namesOf(t, st.backend, packsDir))
	other := &lab{Store: openStore(t, dir, Options{Key: testKey(2)}), at: goldens[0].Header().Created.Add(time.Hour)}
	g := other.backup(t, "etc", fileSet(0, 5, 20_000)) // needs what the first has stored

	// An untrusted golden keeps the packs it names, and pins them.
	r, err := st.Prune(t.Context(), PruneOptions{Policy: keepLast(1), Repack: 1})
	require.NoError(t, err)
	require.Equal(t, 3, r.Goldens)
	require.Equal(t, 1, r.Plan.Pinned)
	again, err := other.Find(t.Context(), g.Header().ID)
	require.NoError(t, err)
	require.NoError(t, again.Check(t.Context(), nil, nil))
	require.Less(t, len(namesOf(t, st.backend, packsDir)), packs)

	// Of one that cannot be read at all nobody knows what it needs: no pack goes.
	st.at = time.Now().Add(-time.Second)
	st.backup(t, "web", fileSet(99, 5, 20_000))
	st.at = time.Time{}
	st.backup(t, "web", fileSet(98, 5, 20_000))
	spoil(t, filepath.Join(dir, goldenName("etc", g.Header().ID)), 20, 1)
	before := namesOf(t, st.backend, packsDir)
	r, err = st.Prune(t.Context(), PruneOptions{Policy: keepLast(1), Repack: 1})
	require.NoError(t, err)
	require.Equal(t, 1, r.Goldens)
	require.Len(t, r.Plan.Blocked, 1)
	require.Contains(t, r.Plan.Blocked[0], g.Header().ID)
	require.Equal(t, before, namesOf(t, st.backend, packsDir))
}

func TestPruneLeavesDamagedPacks(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	goldens, _ := daily(t, st, 2)
	shared := goldens[0].Header().Packs[0]
	// A block that the second golden needs is damaged; it is then not known to be good, but the first is.
	x, err := st.packIndex(t.Context(), shared)
	require.NoError(t, err)
	for at, b := range x.blocks {
		if b.ID == format.Sum(noise(1000, 20_000)) {
			spoil(t, filepath.Join(dir, packName(shared)), at, 1)
		}
	}
	r, err := st.Prune(t.Context(), PruneOptions{Policy: keepLast(1), Repack: 1, Quick: true})
	require.NoError(t, err)
	require.Equal(t, 1, r.Goldens)
	require.Len(t, r.Damaged, 1)
	require.FileExists(t, filepath.Join(dir, packName(shared)))
}

// A golden that is removed is gone for good before a pack goes, and a pack that is named is durable.
func TestPruneOrder(t *testing.T) {
	st := newLab(t, labFolder(t, t.TempDir()))
	_, _ = daily(t, st, 5)
	log := &logged{Backend: st.backend}
	v := st.view(log, nil)
	_, err := v.Prune(t.Context(), PruneOptions{Policy: keepLast(2), Repack: 0.9})
	require.NoError(t, err)
	at := func(what string, after int) int {
		i := slices.IndexFunc(log.calls[after:], func(c string) bool { return strings.HasPrefix(c, what) })
		require.GreaterOrEqual(t, i, 0, "%s in %v", what, log.calls)
		return after + i
	}
	removed := at("remove goldens/", 0)
	synced := at("sync", removed)
	dead := at("remove packs/", synced)
	require.Equal(t, dead, at("remove packs/", 0))
	named := at("publish packs/", dead)
	require.Equal(t, "sync", log.calls[named-1])
	synced = at("sync", named)
	rewritten := at("publish goldens/", synced)
	require.Equal(t, rewritten, at("publish goldens/", 0))
	last := at("remove packs/", rewritten)
	require.NotContains(t, strings.Join(log.calls[last:], " "), "publish goldens/", "packs go after all goldens")
	for i, c := range log.calls {
		if name, ok := strings.CutPrefix(c, "remove "+packsDir); ok {
			require.Equal(t, "remove "+parityName(packsDir+name), log.calls[i-1], "its parity goes before")
		}
	}
}

// logged writes down what changes the store.
type logged struct {
	Backend
	calls []string
}

func (l *logged) Remove(ctx context.Context, names ...string) error {
	for _, n := range names {
		l.calls = append(l.calls, "remove "+n)
	}
	return l.Backend.Remove(ctx, names...)
}

func (l *logged) Sync(ctx context.Context) error {
	l.calls = append(l.calls, "sync")
	return l.Backend.Sync(ctx)
}

func (l *logged) Create(ctx context.Context) (File, error) {
	f, err := l.Backend.Create(ctx)
	return &loggedFile{f, l}, err
}

type loggedFile struct {
	File
	l *logged
}

func (f *loggedFile) Publish(ctx context.Context, name string) error {
	f.l.calls = append(f.l.calls, "publish "+name)
	return f.File.Publish(ctx, name)
}

func TestPruneEndsWithItsContext(t *testing.T) {
	st := newLab(t, labFolder(t, t.TempDir()))
	_, _ = daily(t, st, 3)
	ctx, cancel := context.WithCancel(t.Context())
	o := PruneOptions{Policy: keepLast(1), Repack: 1, Progress: func(step string, _ int64) {
		if strings.HasPrefix(step, "repack") {
			cancel()
		}
	}}
	_, err := st.Prune(ctx, o)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, requireAllGood(t, st.Store))
}

// A repack that is cut off once and again comes to its end, as what it has written stays.
func TestPruneRepacksInBatches(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	goldens, _ := daily(t, st, 12)
	var o PruneOptions
	for i := 0; i < len(goldens); i += 2 {
		o.Remove = append(o.Remove, goldens[i].Header().ID)
	}
	_, err := st.Prune(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, namesOf(t, st.backend, packsDir), 12, "of each something is needed")

	cutOff := func() (*PruneResult, error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begun := 0
		return st.Prune(ctx, PruneOptions{Repack: 0.9, Batch: 150_000, Progress: func(step string, _ int64) {
			if step == "repack" {
				begun++
			}
			if begun == 2 {
				cancel()
			}
		}})
	}
	size := dirSize(filepath.Join(dir, "packs"))
	for left := 6; left > 0; left-- {
		r, err := cutOff()
		if left > 1 {
			require.ErrorIs(t, err, context.Canceled)
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, []int{1, 1, 1}, []int{r.Written, r.Rewritten, r.Packs})
		now := dirSize(filepath.Join(dir, "packs"))
		require.Less(t, now, size-90_000)
		size = now
		require.Equal(t, 6, requireAllGood(t, st.Store))
	}
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
}

func TestBatchesOfPacks(t *testing.T) {
	packs := []PackFate{{Size: 100, Live: 40}, {Size: 50, Live: 5}, {Size: 100, Live: 45}, {Size: 100}, {Size: 100, Live: 20}}
	lives := func(most int64) (all [][]int64) {
		for _, part := range batches(packs, most) {
			var some []int64
			for _, p := range part {
				some = append(some, p.Live)
			}
			all = append(all, some)
		}
		return all
	}
	require.Equal(t, [][]int64{{40, 5, 45, 0, 20}}, lives(0))
	require.Equal(t, [][]int64{{0, 5, 20}, {40}, {45}}, lives(44), "one that is greater is a batch of its own")
	require.Equal(t, [][]int64{{0, 5, 20, 40, 45}}, lives(1000))
	require.Equal(t, [][]int64{{0}, {5}, {20}, {40}, {45}}, lives(1))
}

// Goldens that another trusted key has signed in the name of this host do not count for its own.
func TestPruneCountsWhatAnotherSignedApart(t *testing.T) {
	dir := t.TempDir()
	st := newLab(t, labFolder(t, dir))
	now := time.Now()
	st.at = now.Add(-5 * time.Hour)
	own := st.backup(t, "etc", fileSet(1, 3, 1000))
	other := &lab{Store: openStore(t, dir, Options{Key: testKey(2)})}
	for i := range 3 {
		other.at = now.Add(time.Duration(i-4) * time.Hour)
		other.backup(t, "etc", fileSet(2+uint64(i), 3, 1000))
	}
	s := openStore(t, dir, Options{Key: testKey(1), Trusted: []ed25519.PublicKey{testKey(2).Public().(ed25519.PublicKey)}})
	p, err := s.PlanPrune(t.Context(), PruneOptions{Policy: keepLast(1)})
	require.NoError(t, err)
	require.Len(t, p.Goldens, 4)
	require.Equal(t, own.Header().ID, p.Goldens[3].ID)
	require.True(t, p.Goldens[3].Keep)
	require.Equal(t, []bool{true, false, false}, []bool{p.Goldens[0].Keep, p.Goldens[1].Keep, p.Goldens[2].Keep})
}
