package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// bulk makes files that fill one pack and a half.
func bulk(seed uint64) map[string][]byte {
	files := map[string][]byte{"/etc/small": []byte("small")}
	for i := range 3 {
		files[fmt.Sprintf("/etc/%d", i)] = noise(seed*100+uint64(i), 16<<20)
	}
	return files
}

func protectedLab(t testing.TB, dir string, o ParityOptions) (*lab, *Golden) {
	t.Helper()
	st := newLab(t, labFolder(t, dir))
	g := st.backup(t, "etc", bulk(1))
	result, err := st.Protect(t.Context(), o)
	require.NoError(t, err)
	require.Empty(t, result.Damaged)
	require.Equal(t, len(g.Header().Packs)+2, result.Objects, "packs, the golden and the identity")
	return st, g
}

// spoil overwrites n bytes at a place with others.
func spoil(t testing.TB, path string, at, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	data := make([]byte, n)
	_, err = f.ReadAt(data, at)
	require.NoError(t, err)
	for i := range data {
		data[i] ^= 0x5a
	}
	_, err = f.WriteAt(data, at)
	require.NoError(t, err)
}

func TestParityRepairs(t *testing.T) {
	dir := memoryDir(t)
	st, g := protectedLab(t, dir, ParityOptions{})
	name := packName(g.Header().Packs[0])
	path, par := filepath.Join(dir, name), filepath.Join(dir, parityName(name))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	wholePar, err := os.ReadFile(par)
	require.NoError(t, err)
	require.Less(t, len(wholePar), len(whole)/9, "a tenth and some hashes")
	size := int64(len(whole))
	r := rand.New(rand.NewPCG(1, 1))
	cases := map[string]func(){
		"one byte":           func() { spoil(t, path, r.Int64N(size), 1) },
		"the magic":          func() { spoil(t, path, 0, 8) },
		"the index":          func() { spoil(t, path, size-50, 40) },
		"three megabytes":    func() { spoil(t, path, 5<<20, 3<<20) },
		"the end is cut":     func() { require.NoError(t, os.Truncate(path, size-3<<20)) },
		"it is longer":       func() { require.NoError(t, os.WriteFile(path, append(bytes.Clone(whole), "more"...), 0o600)) },
		"and the sidecar":    func() { spoil(t, path, r.Int64N(size), 1); spoil(t, par, r.Int64N(int64(len(wholePar))-1), 1) },
		"its first header":   func() { spoil(t, path, 9, 1); spoil(t, par, 3, 500) },
		"its last header":    func() { spoil(t, path, 9, 1); require.NoError(t, os.Truncate(par, int64(len(wholePar))-100)) },
		"a shard of parity":  func() { spoil(t, path, 9, 1000); spoil(t, par, int64(len(wholePar))/2+100_000, 1<<20) },
		"here and there":     func() { scatter(t, r, path, name, size) },
		"its sidecar is cut": func() { spoil(t, path, 9, 1); require.NoError(t, os.Truncate(par, int64(len(wholePar))*2/3)) },
	}
	for what, harm := range cases {
		t.Run(what, func(t *testing.T) {
			harm()
			require.NotEmpty(t, must(st.checkObject(t.Context(), name, func(int64) {})), "the damage is found")
			require.NoError(t, st.repair(t.Context(), name))
			again, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(whole, again), "it is as it was")
			require.NoError(t, os.WriteFile(par, wholePar, 0o600))
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "quarantine")))
		})
	}
}

// scatter spoils a byte in two chunks of each row, as much as the parity bears.
func scatter(t testing.TB, r *rand.Rand, path, name string, size int64) {
	t.Helper()
	h := planParity(name, size, ParityOptions{Data: 20, Parity: 2})
	for row := range h.rows {
		for _, shard := range r.Perm(h.data - 1)[:2] { // of the last there may be little
			spoil(t, path, h.at(shard, row)+r.Int64N(int64(h.chunk)), 1)
		}
	}
}

func must(d []Damage, err error) []Damage {
	if err != nil {
		panic(err)
	}
	return d
}

func TestParityThatDoesNotSuffice(t *testing.T) {
	dir := memoryDir(t)
	st, g := protectedLab(t, dir, ParityOptions{})
	name := packName(g.Header().Packs[0])
	path := filepath.Join(dir, name)
	cases := map[string]func(){
		"half of it":   func() { spoil(t, path, 1<<20, 16<<20) },
		"no parity":    func() { require.NoError(t, os.Remove(filepath.Join(dir, parityName(name)))) },
		"it is gone":   func() { require.NoError(t, os.Remove(path)) },
		"a false name": func() { swap(t, path, filepath.Join(dir, packName(g.Header().Packs[1]))) },
	}
	for _, what := range []string{"half of it", "a false name", "no parity", "it is gone"} {
		t.Run(what, func(t *testing.T) {
			cases[what]()
			before, _ := os.ReadFile(path)
			require.ErrorIs(t, st.repair(t.Context(), name), ErrUnrepairable)
			after, _ := os.ReadFile(path)
			require.True(t, bytes.Equal(before, after), "what cannot be repaired is left as it is")
			require.NoDirExists(t, filepath.Join(dir, "quarantine"))
		})
	}
}

func swap(t testing.TB, a, b string) {
	require.NoError(t, os.Rename(a, a+".x"))
	require.NoError(t, os.Rename(b, a))
	require.NoError(t, os.Rename(a+".x", b))
}

func TestAsManyParityShardsAsDataRebuildALostPack(t *testing.T) {
	dir := memoryDir(t)
	st, g := protectedLab(t, dir, ParityOptions{Data: 3, Parity: 3})
	for _, p := range g.Header().Packs {
		require.NoError(t, os.Remove(filepath.Join(dir, packName(p))))
	}
	golden := goldenName("etc", g.Header().ID)
	require.NoError(t, os.Remove(filepath.Join(dir, golden)))
	require.NoError(t, st.repair(t.Context(), golden))
	for _, p := range g.Header().Packs {
		require.NoError(t, st.repair(t.Context(), packName(p)))
	}
	require.NoError(t, g.Check(t.Context(), nil, nil))
}

func TestParityOfSmallObjectsIsACopy(t *testing.T) {
	for size := int64(1); size < 200_000; size = size*3/2 + 1 {
		h := planParity("x", size, ParityOptions{Data: 20, Parity: 2})
		require.GreaterOrEqual(t, int64(h.data*h.rows*h.chunk), size)
		require.Less(t, int64(h.data*h.rows*h.chunk), size+int64(h.data*h.rows*parityAlign)+int64(h.data), "%d bytes", size)
		if size <= parityLeast {
			require.Equal(t, 1, h.data)
		}
	}
}

func TestEveryDamagedByteOfASidecarIsBorne(t *testing.T) {
	dir := memoryDir(t)
	st := newLab(t, labFolder(t, dir))
	g := st.backup(t, "etc", map[string][]byte{"/etc/a": noise(1, 10_000)})
	_, err := st.Protect(t.Context(), ParityOptions{Data: 4, Parity: 2})
	require.NoError(t, err)
	name := packName(g.Header().Packs[0])
	path, par := filepath.Join(dir, name), filepath.Join(dir, parityName(name))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	sidecar, err := os.ReadFile(par)
	require.NoError(t, err)
	for at := range sidecar {
		if at%7 != 0 && at > 200 && at < len(sidecar)-200 {
			continue
		}
		bad := bytes.Clone(sidecar)
		bad[at] ^= 1
		require.NoError(t, os.WriteFile(par, bad, 0o600))
		require.NoError(t, os.WriteFile(path, whole[:len(whole)-30], 0o600))
		require.NoError(t, st.repair(t.Context(), name), "byte %d", at)
		again, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(whole, again), "byte %d", at)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "quarantine")))
	}
}

// FuzzParityHead: whatever a sidecar holds, reading it ends, with an error or a header that is consistent.
func FuzzParityHead(f *testing.F) {
	h := planParity("packs/x", 10_000, ParityOptions{Data: 3, Parity: 1})
	raw := append(h.bytes(), make([]byte, h.body())...)
	raw = append(append(raw, h.bytes()...), h.trailer()...)
	f.Add(raw)
	f.Add(raw[5:])
	f.Add(raw[:len(raw)-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		h, at, err := readParityHead(memoryObject{bytes.NewReader(data)}, "packs/x")
		if err != nil {
			return
		}
		require.Len(t, h.sums, (h.data+h.parity)*h.rows)
		require.GreaterOrEqual(t, at, int64(0))
	})
}

type memoryObject struct{ *bytes.Reader }

func (memoryObject) Close() error { return nil }

// A process is killed between the removal of the damaged pack and the naming of the repaired one.
func TestRepairGoesOnAfterAKill(t *testing.T) {
	dir := memoryDir(t)
	st, g := protectedLab(t, dir, ParityOptions{})
	name := packName(g.Header().Packs[0])
	path := filepath.Join(dir, name)
	spoil(t, path, 1<<20, 2<<20)
	require.NoError(t, st.quarantine(t.Context(), name))
	require.NoFileExists(t, path)
	require.NoError(t, st.repair(t.Context(), name))
	require.NoError(t, g.Check(t.Context(), nil, nil))
}

func TestIdentityIsRepairedBeforeTheStoreIsOpened(t *testing.T) {
	dir := memoryDir(t)
	o := sealedOptions(t)
	f := labFolder(t, dir)
	s, err := Create(t.Context(), f, o)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Protect(t.Context(), ParityOptions{})
	require.NoError(t, err)
	for _, name := range []string{identityName, keyName} {
		spoil(t, filepath.Join(dir, name), 30, 1)
		_, err = Open(t.Context(), f, o)
		require.Error(t, err)
		names, err := RepairIdentity(t.Context(), f)
		require.NoError(t, err)
		require.Equal(t, []string{name}, names)
	}
	again, err := Open(t.Context(), f, o)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	names, err := RepairIdentity(t.Context(), f)
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestDamagedPackGetsNoParity(t *testing.T) {
	dir := memoryDir(t)
	st := newLab(t, labFolder(t, dir))
	g := st.backup(t, "etc", map[string][]byte{"/etc/a": noise(1, 10_000)})
	name := packName(g.Header().Packs[0])
	spoil(t, filepath.Join(dir, name), 100, 1)
	result, err := st.Protect(t.Context(), ParityOptions{})
	require.NoError(t, err)
	require.Len(t, result.Damaged, 1)
	require.NoFileExists(t, filepath.Join(dir, parityName(name)))
	_, err = st.Protect(t.Context(), ParityOptions{Data: 255, Parity: 2})
	require.Error(t, err)
}

func TestUnreadableDiskIsRepairedToo(t *testing.T) {
	dir := memoryDir(t)
	st, g := protectedLab(t, dir, ParityOptions{})
	name := packName(g.Header().Packs[0])
	v := st.view(failing{Backend: st.backend, name: name, from: 1 << 20, to: 1<<20 + 100}, nil)
	require.NotEmpty(t, must(v.checkObject(t.Context(), name, func(int64) {})))
	require.NoError(t, v.repair(t.Context(), name))
	require.NoError(t, g.Check(t.Context(), nil, nil))
}

// failing is a backend with an object that cannot be read at some places.
type failing struct {
	Backend
	name     string
	from, to int64
}

type failingObject struct {
	Object
	from, to int64
}

func (f failing) Open(ctx context.Context, name string) (Object, error) {
	o, err := f.Backend.Open(ctx, name)
	if err == nil && name == f.name {
		o = failingObject{o, f.from, f.to}
	}
	return o, err
}

var errDisk = errors.New("input/output error")

func (o failingObject) ReadAt(p []byte, at int64) (int, error) {
	if at < o.to && at+int64(len(p)) > o.from {
		return 0, errDisk
	}
	return o.Object.ReadAt(p, at)
}

func BenchmarkParityEncode(b *testing.B) {
	data := noise(1, format.PackSize)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		h := planParity("packs/x", int64(len(data)), ParityOptions{Data: 20, Parity: 2})
		if _, err := h.encode(b.Context(), memoryObject{bytes.NewReader(data)}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProtect(b *testing.B) {
	dir := b.TempDir()
	st := newLab(b, labFolder(b, dir))
	for i := range uint64(4) {
		st.backup(b, "etc", bulk(i))
	}
	for b.Loop() {
		begun := time.Now()
		result, err := st.Protect(b.Context(), ParityOptions{})
		require.NoError(b, err)
		b.ReportMetric(float64(result.Bytes)/1e6/time.Since(begun).Seconds(), "MB/s-verified-and-synced")
		require.NoError(b, os.RemoveAll(filepath.Join(dir, "parity")))
	}
}

// A sidecar that was made of another content is whole in itself, and repairs nothing.
func TestSidecarOfAnotherContentIsFound(t *testing.T) {
	dir := memoryDir(t)
	st := newLab(t, labFolder(t, dir))
	g := st.backup(t, "etc", fileSet(1, 3, 10_000))
	_, err := st.Protect(t.Context(), ParityOptions{})
	require.NoError(t, err)
	name := packName(g.Header().Packs[0])
	pack, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	pack[100] ^= 1
	h := planParity(name, int64(len(pack)), ParityOptions{Data: 20, Parity: 2})
	shards, err := h.encode(t.Context(), memoryObject{bytes.NewReader(pack)})
	require.NoError(t, err)
	f, err := st.writeSidecar(t.Context(), h, shards)
	require.NoError(t, err)
	require.NoError(t, f.Replace(t.Context(), parityName(name)))
	require.Equal(t, map[ProblemKind]int{ProblemParity: 1}, kinds(scrubbed(t, st.Store, ScrubOptions{})))
	r := scrubbed(t, st.Store, ScrubOptions{Repair: true})
	require.True(t, r.Problems[0].Repaired)
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
}

// A pack that is replaced is read anew, also by who has had it open.
func TestReplacedPackIsReadAnew(t *testing.T) {
	dir := memoryDir(t)
	st := newLab(t, labFolder(t, dir))
	data := noise(1, 10_000)
	g := st.backup(t, "etc", map[string][]byte{"/etc/a": data})
	_, err := st.Protect(t.Context(), ParityOptions{})
	require.NoError(t, err)
	name := packName(g.Header().Packs[0])
	spoil(t, filepath.Join(dir, name), 100, 1)
	_, err = g.Block(t.Context(), nil, format.Sum(data))
	require.ErrorIs(t, err, format.ErrDamaged)
	held, err := st.files.open(t.Context(), g.Header().Packs[0])
	require.NoError(t, err)
	require.NoError(t, st.repair(t.Context(), name))
	_, err = g.Block(t.Context(), nil, format.Sum(data))
	require.NoError(t, err)
	require.NoError(t, readAt(held.object, make([]byte, 10), 0), "who reads still has the old one open")
	st.files.done(held)
	require.ErrorIs(t, held.object.Close(), fs.ErrClosed)
}

// What a sidecar says of its numbers is not a reason to need more memory than a whole store's would.
func TestSidecarOfHugeNumbersIsRefused(t *testing.T) {
	for what, change := range map[string]func(*parityHead){
		"chunk": func(h *parityHead) { h.chunk = parityChunk + 1 },
		"rows":  func(h *parityHead) { h.rows = paritySums },
		"none":  func(*parityHead) {},
	} {
		h := planParity("packs/x", 100, ParityOptions{Data: 20, Parity: 2})
		change(h)
		_, err := parseFixed(h.bytes())
		if what == "none" {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, format.ErrDamaged, what)
		}
	}
}
