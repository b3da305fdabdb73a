package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// ErrUntrusted says that a golden is signed by a key that is not trusted.
var ErrUntrusted = errors.New("untrusted")

// Golden is one whose header is signed by a trusted key. Its methods may be called by many
// goroutines at once.
type Golden struct {
	s    *Store
	name string
	head head

	mu    sync.Mutex
	index *index
}

// head is what stands before the segments of a golden.
type head struct {
	header *format.Header
	signer ed25519.PublicKey
	// size is that of the file, at the place of the first segment.
	size, at int64
}

// Header returns the header. Its lists must not be changed.
func (g *Golden) Header() format.Header { return *g.head.header }

// Signer returns the key that signed the golden.
func (g *Golden) Signer() ed25519.PublicKey { return slices.Clone(g.head.signer) }

// openGolden opens the golden of the name.
func (s *Store) openGolden(ctx context.Context, name string) (*Golden, error) {
	o, err := s.backend.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = o.Close() }()
	h, err := s.readHead(o, name)
	if err != nil {
		return nil, fmt.Errorf("golden %s: %w", name, err)
	}
	return &Golden{s: s, name: name, head: h}, nil
}

// readHead reads and checks the first two lines. With the error ErrUntrusted it returns what it read.
func (s *Store) readHead(o Object, name string) (head, error) {
	lines, err := readLines(o)
	if err != nil {
		return head{}, err
	}
	h := head{size: o.Size(), at: int64(len(lines[0]) + len(lines[1]))}
	// A later version may sign in another way: so first of all the version.
	h.header, err = format.ParseHeader(lines[0])
	if err != nil {
		if errors.Is(err, format.ErrVersion) {
			err = shivx.Hint(err, "use a newer version of shivx")
		}
		return head{}, err
	}
	if h.signer, err = format.VerifySignature(lines[0], lines[1]); err != nil {
		return head{}, err
	}
	if err := s.checkHead(&h, name); err != nil {
		return head{}, err
	}
	if !slices.ContainsFunc(s.trusted, func(k ed25519.PublicKey) bool { return k.Equal(h.signer) }) {
		key := base64.StdEncoding.EncodeToString(h.signer)
		err := fmt.Errorf("%w: signed by the key %s", ErrUntrusted, key)
		return h, shivx.Hint(err, "if you know that the key is that of the host "+h.header.Host+", name it: --trust "+key)
	}
	return h, nil
}

// checkHead says whether the golden is what its name says and has the length it should have.
func (s *Store) checkHead(h *head, name string) error {
	set, id, ok := parseGoldenName(name)
	if !ok || set != h.header.Set || id != h.header.ID {
		return fmt.Errorf("%w: it is the golden %s of the set %s", format.ErrDamaged, h.header.ID, h.header.Set)
	}
	if h.header.Store != s.id {
		return fmt.Errorf("%w: it is of the store %s, not of this, %s", format.ErrDamaged, h.header.Store, s.id)
	}
	if _, err := timeOf(id); err != nil {
		return fmt.Errorf("%w: %w", format.ErrDamaged, err)
	}
	size := h.at
	for _, seg := range h.header.Segments {
		size += seg.Stored
	}
	if size != h.size {
		return fmt.Errorf("%w: %d bytes, not %d", format.ErrDamaged, h.size, size)
	}
	return nil
}

// readLines reads the first two lines, with their newlines.
func readLines(o Object) ([2][]byte, error) {
	for n := int64(64 << 10); ; n *= 4 {
		data := make([]byte, min(n, o.Size()))
		if err := readAt(o, data, 0); err != nil {
			return [2][]byte{}, err
		}
		first := bytes.IndexByte(data, '\n') + 1
		second := bytes.IndexByte(data[first:], '\n') + 1
		switch {
		case first > 0 && second > 0:
			return [2][]byte{data[:first], data[first : first+second]}, nil
		case n >= o.Size():
			return [2][]byte{}, fmt.Errorf("%w: it has no header and signature", format.ErrDamaged)
		case n > format.MaxHeader:
			return [2][]byte{}, fmt.Errorf("%w: its header has no end", format.ErrDamaged)
		}
	}
}

// blocks returns the index of the golden's packs, which is read when it is first needed.
func (g *Golden) blocks(ctx context.Context) (*index, error) {
	if g.s.locked {
		return nil, errLocked()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.index != nil {
		return g.index, nil
	}
	x := new(index)
	err := g.s.loadIndex(ctx, x, g.head.header.Packs, func(_ format.Hash, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", format.ErrDamaged, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	g.index = x
	return x, nil
}

// Block returns the block whose hash is h, in dst's memory if that is long enough. It is whole, as
// its bytes have that hash. The error is ErrDamaged, or that of reading.
func (g *Golden) Block(ctx context.Context, dst []byte, h format.Hash) ([]byte, error) {
	x, err := g.blocks(ctx)
	if err != nil {
		return nil, err
	}
	id := g.s.blockID(h)
	r := x.find(&id)
	if r == nil {
		return nil, fmt.Errorf("golden %s: %w: block %s is in none of its packs", g.head.header.ID, format.ErrDamaged, h)
	}
	pack := g.head.header.Packs[r.packNumber()]
	dst, err = g.s.block(ctx, dst, pack, r, h)
	if err != nil {
		return nil, fmt.Errorf("block %s at %d of %s: %w", h, r.offset, packName(pack), err)
	}
	return dst, nil
}

func (s *Store) block(ctx context.Context, dst []byte, pack format.Hash, r *record, h format.Hash) ([]byte, error) {
	f, err := s.files.open(ctx, pack)
	if err != nil {
		return nil, err
	}
	defer s.files.done(f)
	if s.keys == nil && r.codec() == format.CodecRaw {
		dst = grow(dst, int(r.plain))
		if err := readAt(f.object, dst, int64(r.offset)); err != nil {
			return nil, err
		}
		return dst, verify(dst, r, h)
	}
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	*buf = grow(*buf, int(r.stored))
	if err := readAt(f.object, *buf, int64(r.offset)); err != nil {
		return nil, err
	}
	return s.decode(dst, *buf, r, h)
}
