package capture

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

const (
	// openLevels is how many folders above the one at hand stay open; of those in between it and the
	// root, the rest is opened again by way of "..", however deep the tree is.
	openLevels = 64
	// aheadFolders is how many folders are listed ahead at each level, aheadTotal how many at all, and
	// aheadNames how many names of such a folder: more are read once it is its turn.
	aheadFolders = 4
	aheadTotal   = 64
	aheadNames   = 16 << 10
)

// walker goes through the roots in order and fills batches.
type walker struct {
	plan   *plan
	lister *lister
	prev   *previous
	ahead  chan<- *listing
	// free are the batches that nobody uses; send passes a full one on.
	free <-chan *batch
	send func(*batch)
	// cwd stands for no folder: what is looked up in it has an absolute path.
	cwd   *folder
	stack []level
	batch *batch
	// early is how many folders are listed ahead at this moment.
	early int
	// overlays are those that were not met yet.
	overlays map[string]bool
}

// level is a folder that the walk is in.
type level struct {
	f    *folder
	next int
	// scan is up to where its names have been looked at for folders to list ahead, early are those
	// under way, in order.
	scan  int
	early []*listing
	// parked: the folder may be closed. fixed: it must not be, as what lies below it in the walk
	// does not lie in it.
	parked, fixed bool
}

// listing is a folder that is being listed ahead.
type listing struct {
	parent     *folder
	index      int
	name, path string
	done       chan struct{}
	f          *folder
	err        error
}

// serve lists folders ahead until there are no more.
func (l *lister) serve(jobs <-chan *listing) {
	for j := range jobs {
		j.f, j.err = l.open(j.parent, j.name, j.path, aheadNames)
		j.parent.release()
		close(j.done)
	}
}

// run walks all roots. Whatever it returns, nothing stays open but for what batches hold.
func (w *walker) run(ctx context.Context) error {
	w.overlays = map[string]bool{}
	for prefix, names := range w.plan.overlays {
		for n := range names {
			w.overlays[prefix+n] = true
		}
	}
	w.cwd = &folder{fd: unix.AT_FDCWD, refs: 1}
	defer w.unwind()
	for _, root := range w.plan.roots {
		if err := w.root(ctx, root); err != nil {
			return err
		}
	}
	if len(w.overlays) > 0 {
		return w.unmet()
	}
	w.flush()
	return nil
}

// root walks one root, as the only name in the folder above it.
func (w *walker) root(ctx context.Context, root string) error {
	prefix, base := split(root)
	if w.plan.absent[prefix][base] {
		return nil
	}
	top := &folder{prefix: prefix, fd: -1, refs: 1, overlays: w.plan.overlays[prefix]}
	kind := uint8(unix.DT_UNKNOWN)
	fd, err := unix.Open(filepath.Dir(root), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	switch _, replaced := top.overlays[base]; {
	case err == nil:
		top.fd = fd
		var st unix.Stat_t
		if statAt(fd, base, &st) == nil {
			kind = kindOf(st.Mode)
		}
	case gone(err) && !replaced:
		return nil
	case !replaced:
		return fmt.Errorf("open the folder above the root %s: %w", root, err)
	}
	top.names.add(base, kind)
	w.stack = append(w.stack, level{f: top})
	for len(w.stack) > 0 {
		if err := w.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step takes the next name of the innermost folder, or leaves it.
func (w *walker) step(ctx context.Context) error {
	l := &w.stack[len(w.stack)-1]
	if l.next == l.f.names.len() {
		return w.leave(ctx)
	}
	n := l.f.names.at(l.next)
	l.next++
	if to, ok := l.f.overlays[n.text]; ok {
		return w.replace(ctx, l, n, to)
	}
	if n.kind != unix.DT_DIR {
		_, err := w.add(ctx, l.f, n, l.f.prefix, n.text)
		return err
	}
	if l.f.tooLong(n.text) {
		return w.fail(ctx, l.f.prefix, n.text, errLong)
	}
	f, err := w.list(l, n)
	return w.enter(ctx, l, n, f, err)
}

// list returns the folder of a name, listed ahead or now, and has the next ones listed.
func (w *walker) list(l *level, n name) (*folder, error) {
	index := l.next - 1
	var mine *listing
	if len(l.early) > 0 && l.early[0].index == index {
		mine, l.early = l.early[0], l.early[1:]
		w.early--
	}
	w.listAhead(l)
	if mine == nil {
		return w.lister.open(l.f, n.text, l.f.prefix+n.text, math.MaxInt)
	}
	<-mine.done
	return mine.f, mine.err
}

func (w *walker) listAhead(l *level) {
	l.scan = max(l.scan, l.next)
	for ; l.scan < l.f.names.len() && len(l.early) < aheadFolders && w.early < aheadTotal; l.scan++ {
		n := l.f.names.at(l.scan)
		if _, other := l.f.overlays[n.text]; other || n.kind != unix.DT_DIR || l.f.tooLong(n.text) {
			continue
		}
		j := &listing{parent: l.f, index: l.scan, name: n.text, path: l.f.prefix + n.text, done: make(chan struct{})}
		l.f.hold()
		select {
		case w.ahead <- j:
			l.early = append(l.early, j)
			w.early++
		default:
			l.f.release()
			return
		}
	}
}

// enter adds the entry of a folder and goes in.
func (w *walker) enter(ctx context.Context, l *level, n name, f *folder, err error) error {
	prefix := l.f.prefix
	if err == nil && f.more {
		if err = w.lister.list(f, math.MaxInt); err != nil {
			f.release()
		}
	}
	switch {
	case gone(err):
		return nil
	case fatal(err):
		return fmt.Errorf("open %s: %w", prefix+n.text, err)
	case otherType(err):
		n.kind = unix.DT_UNKNOWN
		_, err := w.add(ctx, l.f, n, prefix, n.text)
		return err
	case err != nil:
		return w.fail(ctx, prefix, n.text, err)
	}
	it, err := w.add(ctx, f, name{kind: unix.DT_DIR}, prefix, n.text)
	if err != nil || f.closed != "" {
		f.release()
		if err == nil {
			it.note = f.closed
		}
		return err
	}
	w.stack = append(w.stack, level{f: f})
	w.park()
	return nil
}

// fail adds an item for what could not be opened.
func (w *walker) fail(ctx context.Context, prefix, text string, err error) error {
	it, addErr := w.add(ctx, w.cwd, name{text: text, kind: kindFailed}, prefix, text)
	if addErr == nil {
		it.path, it.fault = prefix+text, err
	}
	return addErr
}

// add puts a name into the batch at hand; its path is prefix and text. The item may be changed until
// the next call.
func (w *walker) add(ctx context.Context, at *folder, n name, prefix, text string) (*item, error) {
	if b := w.batch; b != nil && (len(b.items) == batchItems || !b.holds(at)) {
		w.flush()
	}
	if w.batch == nil {
		select {
		case w.batch = <-w.free:
			w.batch.holds(at)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b := w.batch
	b.items = append(b.items, item{at: at, name: n.text, kind: n.kind})
	it := &b.items[len(b.items)-1]
	if len(prefix)+len(text) > format.MaxPath {
		it.kind, it.path, it.fault = kindFailed, prefix+text, errLong
	}
	if e := w.prev.find(prefix, text); e != nil {
		it.prev, it.known = *e, true
	}
	return it, nil
}

// flush passes the batch at hand on.
func (w *walker) flush() {
	if w.batch != nil {
		w.send(w.batch)
		w.batch = nil
	}
}
