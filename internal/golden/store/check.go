package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// Check reads what the golden needs and compares it with the hashes that its signature stands for:
// the blocks of need, or, where that is nil, the golden's own file, all blocks of its packs, the
// packs' indexes, and that no entry lacks a block. All damage is reported in one *DamageError.
// progress, if not nil, is told how many bytes were read since it was told last; it is not called
// by two goroutines at once.
func (g *Golden) Check(ctx context.Context, need []format.Hash, progress func(bytes int64)) error {
	return g.check(ctx, &check{g: g, progress: progress}, need)
}

func (g *Golden) check(ctx context.Context, c *check, need []format.Hash) error {
	tasks, err := c.tasks(ctx, need)
	if err != nil {
		return err
	}
	var group errgroup.Group
	queue := make(chan task)
	// The processors hash; as many again wait for the disk.
	for range min(2*runtime.GOMAXPROCS(0), len(tasks)) {
		group.Go(func() error { return c.work(ctx, queue) })
	}
	for _, t := range tasks {
		queue <- t
	}
	close(queue)
	if err := group.Wait(); err != nil {
		return fmt.Errorf("check golden %s: %w", g.head.header.ID, err)
	}
	if need != nil {
		c.forgive(ctx)
	}
	if len(c.damages) == 0 {
		return nil
	}
	slices.SortFunc(c.damages, func(a, b Damage) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Offset, b.Offset))
	})
	hint := "shivx golden scrub --repair mends what has parity; else restore another golden"
	found := &DamageError{Damages: c.damages}
	if !found.proven() {
		hint = "look after the disk or the network of the store, then run the same command again"
	}
	return shivx.Hint(fmt.Errorf("check golden %s: %w", g.head.header.ID, found), hint)
}

// deepCheck is Check of all, and compares as well what each block decompresses to with its id: so it finds
// a block that is stored as another, and not only bytes that have changed.
func (g *Golden) deepCheck(ctx context.Context, progress func(bytes int64)) error {
	return g.check(ctx, &check{g: g, deep: true, progress: progress}, nil)
}

type check struct {
	g        *Golden
	deep     bool
	mu       sync.Mutex
	damages  []Damage
	progress func(int64)
}

// task is one thing to check: a pack, all of it or blocks of it, or something else.
type task struct {
	pack format.Hash
	need []uint32
	// other, if not nil, is run instead.
	other func(context.Context) error
}

// tasks lists what is to be done.
func (c *check) tasks(ctx context.Context, need []format.Hash) ([]task, error) {
	packs := c.g.head.header.Packs
	if need == nil {
		tasks := []task{{other: c.entries}}
		for _, p := range packs {
			tasks = append(tasks, task{pack: p})
		}
		return tasks, nil
	}
	x, err := c.g.blocks(ctx)
	if err != nil {
		return nil, err
	}
	places := make([][]uint32, len(packs))
	for _, h := range need {
		id := c.g.s.blockID(h)
		r := x.find(&id)
		if r == nil {
			c.add(Damage{Name: c.g.name, Block: id, Err: c.g.lacks(h)})
			continue
		}
		places[r.packNumber()] = append(places[r.packNumber()], r.offset)
	}
	var tasks []task
	for i, p := range places {
		if len(p) > 0 {
			slices.Sort(p)
			tasks = append(tasks, task{pack: packs[i], need: slices.Compact(p)})
		}
	}
	return tasks, nil
}

// work does tasks until there are no more; after an error it only takes them.
func (c *check) work(ctx context.Context, queue <-chan task) error {
	buf := make([]byte, runSize)
	var failed error
	for t := range queue {
		if failed = cmp.Or(failed, ctx.Err()); failed != nil {
			continue
		}
		if t.other != nil {
			failed = t.other(ctx)
			continue
		}
		var damages []Damage
		if c.deep {
			damages, failed = c.g.s.checkPackDeep(ctx, t.pack, buf, c.tell)
		} else {
			damages, failed = c.g.s.checkPack(ctx, t.pack, t.need, buf, c.tell)
		}
		for _, d := range damages {
			c.add(d)
		}
	}
	return failed
}

// forgive takes back damage of blocks of which another copy is whole.
func (c *check) forgive(ctx context.Context) {
	x, err := c.g.blocks(ctx)
	if err != nil {
		return
	}
	c.damages = slices.DeleteFunc(c.damages, func(d Damage) bool {
		for r := range x.all(&d.Block) {
			pack := c.g.head.header.Packs[r.packNumber()]
			if packName(pack) == d.Name {
				continue
			}
			if bad, err := c.g.s.checkPack(ctx, pack, []uint32{r.offset}, nil, func(int64) {}); err == nil && len(bad) == 0 {
				return true
			}
		}
		return false
	})
}

func (c *check) add(d Damage) {
	c.mu.Lock()
	c.damages = append(c.damages, d)
	c.mu.Unlock()
}

func (c *check) tell(n int64) {
	if c.progress == nil {
		return
	}
	c.mu.Lock()
	c.progress(n)
	c.mu.Unlock()
}

// entries checks the golden's own file, and that each block of an entry is in a pack. Who has not the
// key of an encrypted store checks the file alone.
func (c *check) entries(ctx context.Context) error {
	damaged, err := c.segments(ctx)
	if err != nil || damaged || c.g.s.locked {
		return err
	}
	x, err := c.g.blocks(ctx)
	if err != nil || c.g.blind != nil {
		return ctx.Err() // a pack that cannot be read is reported with that pack
	}
	for e, err := range c.g.Entries(ctx) {
		if err != nil {
			return c.damaged(ctx, err)
		}
		for i := range e.BlockCount() {
			id := c.g.s.blockID(e.Block(i))
			if x.find(&id) == nil {
				err := fmt.Errorf("%w: block %d of %q is in none of the golden's packs", format.ErrDamaged, i, e.Path)
				c.add(Damage{Name: c.g.name, Block: id, Err: err})
			}
		}
	}
	return nil
}

// damaged turns an error into damage of the golden's file, unless ctx has ended.
func (c *check) damaged(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.add(Damage{Name: c.g.name, Err: err})
	return nil
}

// segments reads the golden's file anew: it may have been damaged since it was opened.
func (c *check) segments(ctx context.Context) (bool, error) {
	o, err := c.g.s.backend.Open(ctx, c.g.name)
	if err != nil {
		return true, c.damaged(ctx, err)
	}
	defer func() { _ = o.Close() }()
	if _, err := c.g.s.readHead(o, c.g.name); err != nil {
		return true, c.damaged(ctx, err)
	}
	c.tell(c.g.head.at)
	found := false
	at := c.g.head.at
	buf := make([]byte, format.BlockSize)
	for _, seg := range c.g.head.header.Segments {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		// By pieces: who has signed this is not sure to be trusted, and may say any length.
		sum, err := sumAt(o, buf, at, seg.Stored)
		if err == nil && sum != seg.Sum {
			err = fmt.Errorf("%w: the hash of a segment is not that in the header", format.ErrDamaged)
		}
		if err != nil {
			found = true
			c.add(Damage{Name: c.g.name, Offset: at, Length: seg.Stored, Err: err})
		}
		at += seg.Stored
		c.tell(seg.Stored)
	}
	return found, nil
}

// sumAt returns the hash of n bytes at a place.
func sumAt(o Object, buf []byte, at, n int64) (format.Hash, error) {
	sum := sha256.New()
	for n > 0 {
		buf = buf[:min(int64(len(buf)), n)]
		if err := readAt(o, buf, at); err != nil {
			return format.Hash{}, err
		}
		sum.Write(buf)
		at, n = at+int64(len(buf)), n-int64(len(buf))
	}
	return format.Hash(sum.Sum(nil)), nil
}

// missing is what a pack that is not there leads to.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it is missing", format.ErrDamaged)
	}
	return err
}
