package peers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// goldenTree is a tree like that of a server with data: many small files, some big ones, half of
// them text, the other half as good as random, links and sparse files among them.
type goldenTree struct {
	dir   string
	small int
	big   int
	files []string
	bytes int64
	rnd   *rand.Rand
	noise *rand.ChaCha8
	text  []byte
}

func growGoldenTree(t *testing.T, dir string, small, big int) *goldenTree {
	t.Helper()
	g := &goldenTree{dir: dir, small: small, big: big, rnd: rand.New(rand.NewPCG(5, 5)), noise: rand.NewChaCha8([32]byte{5})}
	words := make([][]byte, 4000)
	for i := range words {
		words[i] = make([]byte, 2+g.rnd.IntN(10))
		for j := range words[i] {
			words[i][j] = "etaoinshrdlucmfwypvbgkqjxz"[min(25, int(math.Abs(g.rnd.NormFloat64())*9))]
		}
	}
	for len(g.text) < 4<<20 {
		g.text = append(append(g.text, words[min(3999, int(g.rnd.ExpFloat64()*400))]...), ' ')
	}
	for i := range small {
		g.add(t, fmt.Sprintf("s%d/%02d/f%d", i%20, i/20%20, i), g.size(1<<10, 64<<10), i%2 == 0)
	}
	for i := range big {
		g.add(t, fmt.Sprintf("big/d%d/b%d", i%10, i), g.size(1<<20, 20<<20), i%2 == 0)
	}
	g.links(t)
	syncFiles(t, dir)
	return g
}

// size is spread evenly over the orders of magnitude.
func (g *goldenTree) size(from, to float64) int {
	return int(from * math.Pow(to/from, g.rnd.Float64()))
}

func (g *goldenTree) add(t *testing.T, name string, size int, text bool) {
	path := filepath.Join(g.dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, g.content(size, text), 0o600+fs.FileMode(g.rnd.IntN(2))*0o44))
	at := time.Unix(1_600_000_000+g.rnd.Int64N(1e8), g.rnd.Int64N(1e9))
	must(t, os.Chtimes(path, at, at))
	g.files, g.bytes = append(g.files, path), g.bytes+int64(size)
}

func (g *goldenTree) content(size int, text bool) []byte {
	data := make([]byte, size)
	if !text {
		_, _ = g.noise.Read(data)
		return data
	}
	for at := 0; at < size; {
		from := g.rnd.IntN(len(g.text) - 512)
		at += copy(data[at:], g.text[from:from+16+g.rnd.IntN(400)])
	}
	return data
}

func (g *goldenTree) links(t *testing.T) {
	must(t, os.MkdirAll(g.dir+"/links", 0o750))
	for i := range g.small / 200 {
		must(t, os.Symlink("../"+fmt.Sprintf("s%d/00", i%20), fmt.Sprintf("%s/links/sym%d", g.dir, i)))
		must(t, os.Link(g.files[i*7], fmt.Sprintf("%s/links/hard%d", g.dir, i)))
	}
	for i := range 20 {
		path := fmt.Sprintf("%s/links/sparse%d", g.dir, i)
		f, err := os.Create(path)
		must(t, err)
		for _, at := range []int64{0, 5 << 20, 15 << 20} {
			_, err := f.WriteAt(g.content(8192, i%2 == 0), at)
			must(t, err)
		}
		must(t, errors.Join(f.Truncate(16<<20), f.Close()))
		g.bytes += 16 << 20
	}
}

// change rewrites every hundredth file, as a day's work does.
func (g *goldenTree) change(t *testing.T) {
	for i := g.rnd.IntN(100); i < len(g.files); i += 100 {
		info, err := os.Stat(g.files[i])
		must(t, err)
		must(t, os.WriteFile(g.files[i], g.content(int(info.Size()), i%2 == 0), 0o644))
	}
	syncFiles(t, g.dir)
}

// damage overwrites some bytes of every hundredth file of a copy of the tree, of every second one
// without a trace in size or time.
func (g *goldenTree) damage(t *testing.T, dir string) {
	for i := g.rnd.IntN(100); i < len(g.files); i += 100 {
		rel, err := filepath.Rel(g.dir, g.files[i])
		must(t, err)
		path := filepath.Join(dir, rel)
		info, err := os.Stat(path)
		must(t, err)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt([]byte("damaged by a test"), info.Size()/2)
		must(t, errors.Join(err, f.Close()))
		if i%2 == 0 {
			must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		}
	}
	syncFiles(t, dir)
}

// same compares a copy with the tree: names, types, content, modes, times and links.
func (g *goldenTree) same(copied string) error {
	count := func(dir string) (n int, err error) {
		err = filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { n++; return nil })
		return n, err
	}
	here, err := count(g.dir)
	if err != nil {
		return err
	}
	there, err := count(copied)
	if err != nil {
		return err
	}
	if there != here {
		return fmt.Errorf("%d entries in place of %d", there, here)
	}
	return filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(g.dir, path)
		if err != nil {
			return err
		}
		return sameEntry(path, filepath.Join(copied, rel))
	})
}

func sameEntry(a, b string) error {
	ai, err := os.Lstat(a)
	if err != nil {
		return err
	}
	bi, err := os.Lstat(b)
	if err != nil {
		return err
	}
	as, bs := ai.Sys().(*syscall.Stat_t), bi.Sys().(*syscall.Stat_t)
	if ai.Mode() != bi.Mode() || as.Uid != bs.Uid || as.Gid != bs.Gid {
		return fmt.Errorf("%s: mode or owner %v, not %v", b, bi.Mode(), ai.Mode())
	}
	if ai.Mode().Type() == fs.ModeSymlink {
		at, err := os.Readlink(a)
		bt, err2 := os.Readlink(b)
		if err = errors.Join(err, err2); err != nil || at != bt {
			return fmt.Errorf("%s: points to %q, not %q: %w", b, bt, at, err)
		}
		return nil
	}
	if !ai.ModTime().Equal(bi.ModTime()) {
		return fmt.Errorf("%s: of %v, not %v", b, bi.ModTime(), ai.ModTime())
	}
	if !ai.Mode().IsRegular() {
		return nil
	}
	if ai.Size() != bi.Size() || as.Nlink != bs.Nlink {
		return fmt.Errorf("%s: %d bytes and %d links, not %d and %d", b, bi.Size(), bs.Nlink, ai.Size(), as.Nlink)
	}
	return sameContent(a, b)
}

func sameContent(a, b string) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	pa, pb := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(fa, pa)
		m, _ := io.ReadFull(fb, pb)
		if !bytes.Equal(pa[:n], pb[:m]) {
			return fmt.Errorf("%s: other content", b)
		}
		if err != nil {
			return nil
		}
	}
}

func must(t *testing.T, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}
