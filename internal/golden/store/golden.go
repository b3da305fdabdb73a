package store

import (
	"bytes"
	"cmp"
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
	// blind says why blocks of packs whose index cannot be read are not in the index; nil: all are.
	blind error
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

// Open opens a golden of a list.
func (s *Store) Open(ctx context.Context, i Info) (*Golden, error) {
	return s.openGolden(ctx, goldenName(i.Set, i.ID))
}

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

// readHead reads and checks the first two lines. With the error ErrUntrusted it returns what it read,
// if that is not too long.
func (s *Store) readHead(o Object, name string) (head, error) {
	lines, release, err := s.readLines(o)
	defer release()
	if err != nil {
		return head{}, err
	}
	h := head{size: o.Size(), at: int64(len(lines[0]) + len(lines[1]))}
	if h.signer, err = format.VerifySignature(lines[0], lines[1]); err != nil {
		if later := format.CheckVersion(lines[0]); errors.Is(later, format.ErrVersion) {
			err = later // which may sign in another way
		}
		return head{}, newer(err)
	}
	key := base64.StdEncoding.EncodeToString(h.signer)
	trusted := s.trusts(h.signer)
	if !trusted && len(lines[0]) > untrustedMost {
		return head{}, fmt.Errorf("%w: signed by the key %s, and its header has %d bytes", ErrUntrusted, key, len(lines[0]))
	}
	if h.header, err = format.ParseHeader(lines[0]); err != nil {
		return head{}, newer(err)
	}
	if err := s.checkHead(&h, name); err != nil {
		return head{}, err
	}
	if !trusted {
		err := fmt.Errorf("%w: signed by the key %s", ErrUntrusted, key)
		return h, shivx.Hint(err, "if you know that the key is that of the host "+h.header.Host+", name it: --trust "+key)
	}
	return h, nil
}

// untrustedMost is the greatest header in bytes that is read of a golden that somebody unknown has signed:
// it is listed, and prune leaves its packs. That is enough for the packs of 2 TB.
const untrustedMost = 4 << 20

func (s *Store) trusts(signer ed25519.PublicKey) bool {
	return slices.ContainsFunc(s.trusted, func(k ed25519.PublicKey) bool { return k.Equal(signer) })
}

// newer adds what helps where a later version has written.
func newer(err error) error {
	if errors.Is(err, format.ErrVersion) {
		return shivx.Hint(err, "use a newer version of shivx")
	}
	return err
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

// longHead is the length of a header in bytes from which one alone is read at a time.
const longHead = 1 << 20

// readLines reads the first two lines, with their newlines; release is to be called when they are no
// longer needed.
func (s *Store) readLines(o Object) (lines [2][]byte, release func(), err error) {
	const most = format.MaxHeader + format.MaxSignature
	release = func() {}
	for n := int64(64 << 10); ; n = min(4*n, most) {
		if n > longHead && n/4 <= longHead {
			s.long.Lock()
			release = s.long.Unlock
		}
		data := make([]byte, min(n, o.Size()))
		if err := readAt(o, data, 0); err != nil {
			return lines, release, err
		}
		first := bytes.IndexByte(data, '\n') + 1
		second := bytes.IndexByte(data[first:], '\n') + 1
		switch {
		case first > 0 && second > 0:
			return [2][]byte{data[:first], data[first : first+second]}, release, nil
		case n >= o.Size():
			return lines, release, fmt.Errorf("%w: it has no header and signature", format.ErrDamaged)
		case n == most, first > 0 && n > int64(first+format.MaxSignature):
			return lines, release, fmt.Errorf("%w: its header or its signature has no end", format.ErrDamaged)
		}
	}
}

// blocks returns the index of the golden's packs, which is read when it is first needed. It lacks the blocks
// of packs whose own index is damaged or missing: the golden is damaged there, and whole elsewhere.
func (g *Golden) blocks(ctx context.Context) (*index, error) {
	if g.s.locked {
		return nil, errLocked()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.index != nil {
		return g.index, nil
	}
	x := &index{copies: true}
	var blind error
	err := g.s.loadIndex(ctx, x, 0, g.head.header.Packs, func(_ format.Hash, err error) error {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, format.ErrDamaged) {
			return err
		}
		blind = cmp.Or(blind, err)
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.index, g.blind = x, blind
	return x, nil
}

// lacks says that a block is in none of the packs whose indexes could be read.
func (g *Golden) lacks(h format.Hash) error {
	err := fmt.Errorf("%w: block %s is in none of its packs", format.ErrDamaged, h)
	if g.blind != nil {
		err = fmt.Errorf("%w that can be read: %w", err, g.blind)
	}
	return err
}

// Block returns the block whose hash is h, in dst's memory if that is long enough. It is whole, as
// its bytes have that hash. The error is ErrDamaged, or that of reading.
func (g *Golden) Block(ctx context.Context, dst []byte, h format.Hash) ([]byte, error) {
	x, err := g.blocks(ctx)
	if err != nil {
		return nil, err
	}
	id := g.s.blockID(h)
	for r := range x.all(&id) { // of several copies one that is whole
		pack := g.head.header.Packs[r.packNumber()]
		plain, blockErr := g.s.block(ctx, dst, pack, r, h)
		if blockErr == nil {
			return plain, nil
		}
		err = cmp.Or(err, fmt.Errorf("block %s at %d of %s: %w", h, r.offset, packName(pack), blockErr))
	}
	if err == nil {
		err = fmt.Errorf("golden %s: %w", g.head.header.ID, g.lacks(h))
	}
	return nil, err
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
