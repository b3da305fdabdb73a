package crash_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// picture is all that is in some folders: a line for each path, which says everything of it.
type picture map[string]string

// picture walks with nothing of the product: content, type, mode, owner, time, links and extended
// attributes. Of the folders themselves only the names in them count.
func (e *estate) picture(t *testing.T) picture {
	t.Helper()
	return pictureOf(t, e.dir, e.roots()...)
}

func pictureOf(t *testing.T, base string, folders ...string) picture {
	t.Helper()
	p, inodes := picture{}, map[[2]uint64]string{}
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == folder {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(base, path)
			p[name], err = look(path, name, info, inodes)
			return err
		}))
	}
	return p
}

// look says everything of one path.
func look(path, name string, info fs.FileInfo, inodes map[[2]uint64]string) (string, error) {
	st := info.Sys().(*syscall.Stat_t)
	var line strings.Builder
	fmt.Fprintf(&line, "%v %d:%d %d.%09d", info.Mode(), st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	switch {
	case info.Mode().IsRegular():
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(content)
		fmt.Fprintf(&line, " %d %s", len(content), hex.EncodeToString(sum[:8]))
		inode := [2]uint64{st.Dev, st.Ino}
		if inodes[inode] == "" {
			inodes[inode] = name
		} else {
			fmt.Fprintf(&line, " is %s", inodes[inode])
		}
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		line.WriteString(" → " + to)
	}
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	for attr := range bytes.SplitSeq(bytes.TrimSuffix(names[:n], []byte{0}), []byte{0}) {
		if len(attr) > 0 {
			value := make([]byte, 4096)
			n, err := unix.Lgetxattr(path, string(attr), value)
			if err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
			fmt.Fprintf(&line, " %s=%x", attr, value[:n])
		}
	}
	return line.String(), nil
}

// differs lists where two pictures differ, at most some places.
func (p picture) differs(other picture, but ...string) []string {
	var out []string
	all := maps.Clone(p)
	maps.Copy(all, other)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if p[name] != other[name] && !slices.Contains(but, name) && len(out) < 8 {
			out = append(out, fmt.Sprintf("%s: %q and %q", name, p[name], other[name]))
		}
	}
	return out
}

// How many files each path has, and the share of them that differ between states, as one of so many.
const (
	estateFiles = 1000
	oneDiffers  = 5
)

// plant gives both paths a state. A part of the files is the same in all states; others differ in
// content, are of other types or are there in one state alone.
func (e *estate) plant(t *testing.T, word string) {
	t.Helper()
	for i, root := range []string{"etc/shop", "srv/shop"} {
		old, err := os.ReadDir(e.path(root))
		if err == nil {
			for _, d := range old {
				if d.Name() != "cache" {
					require.NoError(t, os.RemoveAll(filepath.Join(e.path(root), d.Name())))
				}
			}
		}
		e.put(t, root+"/state", word+"\n")
		e.put(t, root+"/conf.json", `{"state": "`+word+`"}`)
		p := planter{t: t, root: e.path(root), word: word, number: uint64(i)}
		for n := range estateFiles {
			p.plant(n)
		}
		require.NoError(t, os.Chmod(e.path(root), 0o750))
	}
	e.sqlite(t, "PRAGMA synchronous=OFF; CREATE TABLE orders(id INTEGER PRIMARY KEY, what TEXT, noise BLOB);"+
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 400) INSERT INTO orders SELECT i, '"+word+"', randomblob(1500) FROM n;")
}

func (e *estate) sqlite(t *testing.T, sql string) string {
	t.Helper()
	return query(t, e.path("srv/shop/orders.db"), sql)
}

func query(t *testing.T, db, sql string) string {
	t.Helper()
	out, err := exec.Command("sqlite3", "-batch", "-bail", db, sql).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// planter makes the files of one path in one state.
type planter struct {
	t      *testing.T
	root   string
	word   string
	number uint64
}

func (p planter) plant(n int) {
	dir := filepath.Join(p.root, fmt.Sprintf("d%02d", n%23), fmt.Sprintf("e%d", n%3))
	path := filepath.Join(dir, fmt.Sprintf("f%04d", n))
	seed := uint64(n) + p.number<<32
	if n%oneDiffers == 0 {
		seed += uint64(p.word[len(p.word)-1]) << 40
	}
	r := rand.New(rand.NewPCG(seed, 7))
	require.NoError(p.t, os.MkdirAll(dir, 0o755))
	kind := n % 20
	if kind == 10 { // the type differs, or it is in one state alone
		kind = 10 + int(seed>>40+uint64(n))%4
	}
	mode := []os.FileMode{0o644, 0o600, 0o755, 0o440}[r.IntN(4)]
	switch kind {
	case 4:
		require.NoError(p.t, os.Symlink(fmt.Sprintf("../e1/f%04d", r.IntN(estateFiles)), path))
	case 5:
		require.NoError(p.t, os.Link(filepath.Join(p.root, "conf.json"), path))
	case 11:
		require.NoError(p.t, os.MkdirAll(filepath.Join(path, "below"), mode|0o700))
	case 12:
		require.NoError(p.t, os.Symlink(p.word, path))
	case 13:
	default:
		size := r.IntN(6000)
		if n%130 == 1 || n%130 == 65 {
			size = 100_000 + r.IntN(400_000)
		}
		require.NoError(p.t, os.WriteFile(path, content(r, size), 0o600))
		if kind == 6 {
			require.NoError(p.t, unix.Lsetxattr(path, "user.state", []byte(p.word), 0))
		}
		require.NoError(p.t, os.Chown(path, r.IntN(2)*1000, r.IntN(2)*1000))
		require.NoError(p.t, os.Chmod(path, mode))
		require.NoError(p.t, os.Chtimes(path, time.Time{}, time.Unix(1_600_000_000+r.Int64N(1e8), r.Int64N(1e9))))
	}
}

// content is half noise, half text.
func content(r *rand.Rand, size int) []byte {
	b := make([]byte, 0, size+8)
	for len(b) < size {
		if n := r.Uint64(); len(b)%4096 < 2048 {
			b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), byte(n>>32), byte(n>>40), byte(n>>48), byte(n>>56))
		} else {
			b = append(b, "the shop"...)
		}
	}
	return b[:size]
}

// edit rewrites some files of both paths, and some rows, so that a backup has something to store.
func (e *estate) edit(t *testing.T) {
	t.Helper()
	for _, root := range []string{"etc/shop", "srv/shop"} {
		paths, err := filepath.Glob(e.path(root + "/d*/e*/f*"))
		require.NoError(t, err)
		for range 150 {
			path := paths[e.rnd.IntN(len(paths))]
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
				require.NoError(t, os.WriteFile(path, content(e.rnd, int(info.Size())), 0o600))
			}
		}
	}
	e.sqlite(t, "PRAGMA synchronous=OFF; UPDATE orders SET noise = randomblob(1500) WHERE id % 7 = abs(random() % 7)")
}
