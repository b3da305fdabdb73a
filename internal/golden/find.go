package golden

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/signing"
	"github.com/shivx/shivx/internal/golden/store"
)

// Ref says which golden is meant.
type Ref struct {
	Set string
	// Host that took it; "": this one.
	Host string
	// Golden is an id, a unique beginning of one, a name, or shivx.GoldenLatest.
	Golden string
	// Kind of which it is the latest and among which a name is looked for; "": any.
	Kind shivx.GoldenKind
	// Trust names further keys that are believed, base64.
	Trust []string
}

// Listed is one golden of a list; Err says what is wrong with it.
type Listed struct {
	shivx.GoldenInfo
	Err error
}

// List returns the goldens of a set, or of all where set is "", of every host, newest first. Those
// that are damaged or not trusted are among them, with their error.
func (e *Engine) List(ctx context.Context, set string) ([]Listed, error) {
	s, err := e.open(ctx, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing was stored yet
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	all, err := s.List(ctx, set)
	if err != nil {
		return nil, err
	}
	list := make([]Listed, 0, len(all))
	for _, i := range all {
		info := infoOf(i.Header, i.Signer)
		info.Set, info.ID, info.Created = i.Set, i.ID, i.Created()
		list = append(list, Listed{info, i.Err})
	}
	return list, nil
}

// Find returns the golden that is meant.
func (e *Engine) Find(ctx context.Context, ref Ref) (shivx.GoldenInfo, error) {
	s, g, err := e.find(ctx, ref)
	if err != nil {
		return shivx.GoldenInfo{}, err
	}
	defer s.Close()
	return infoOf(g.Header(), g.Signer()), nil
}

// find opens the store and the golden in it; the store is to be closed afterwards.
func (e *Engine) find(ctx context.Context, ref Ref) (*store.Store, *store.Golden, error) {
	s, err := e.openFor(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	g, err := e.choose(ctx, s, ref)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, g, nil
}

// findLocked is find with a lock, which is had before the golden is read: a prune that comes between would write
// what it needs elsewhere. done ends both.
func (e *Engine) findLocked(ctx context.Context, ref Ref) (g *store.Golden, done func() error, err error) {
	s, err := e.openFor(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	release, err := s.Lock(ctx, store.Shared)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	done = func() error { return errors.Join(release(), s.Close()) }
	if g, err = e.choose(ctx, s, ref); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return g, done, nil
}

// openFor opens the store to look for a golden.
func (e *Engine) openFor(ctx context.Context, ref Ref) (*store.Store, error) {
	trust, err := signing.ParseKeys(ref.Trust)
	if err != nil {
		return nil, err
	}
	s, err := e.open(ctx, false, trust...)
	if errors.Is(err, fs.ErrNotExist) {
		err = shivx.Hint(fmt.Errorf("%w: nothing was ever stored: %w", ErrUnknownGolden, err), "take one: shivx golden backup "+ref.Set)
	}
	return s, err
}

// choose opens the golden that ref means. The latest is never replaced by an older one because it is
// damaged: that is for people to choose.
func (e *Engine) choose(ctx context.Context, s *store.Store, ref Ref) (*store.Golden, error) {
	if ref.Host == "" {
		ref.Host = e.o.Host
	}
	all, err := s.List(ctx, ref.Set)
	if err != nil {
		return nil, err
	}
	var found []store.Info
	for _, i := range all {
		if ref.means(&i) {
			found = append(found, i)
		}
		if ref.Golden == shivx.GoldenLatest && len(found) == 1 {
			break
		}
	}
	switch {
	case len(found) == 0:
		return nil, shivx.Hint(fmt.Errorf("%w: %s of the set %s of %s", ErrUnknownGolden, ref.Golden, ref.Set, ref.Host),
			"see them: shivx golden list "+ref.Set)
	case len(found) > 1 && found[0].ID != ref.Golden:
		return nil, shivx.Hint(fmt.Errorf("%w: %s could be %s or %s", ErrUnknownGolden, ref.Golden, found[0].ID, found[1].ID), "give the whole id")
	}
	g, err := s.Open(ctx, found[0])
	if err != nil {
		return nil, err
	}
	return g, e.ownOrNamed(g, ref)
}

// ownOrNamed refuses a golden that claims to be of this host and is signed by another of the trusted keys: that
// may be another host's, whose intruder would have his state restored here. It may be this host's former key as
// well; until the host has a new one that is believed, and afterwards where it is named.
func (e *Engine) ownOrNamed(g *store.Golden, ref Ref) error {
	h := g.Header()
	signer := base64.StdEncoding.EncodeToString(g.Signer())
	if h.Host != e.o.Host || slices.Contains(ref.Trust, signer) {
		return nil
	}
	own, err := e.own()
	if err != nil || own(g.Signer()) {
		return err
	}
	return shivx.Hint(fmt.Errorf("%w: the golden %s says that it is of this host, and is signed by another trusted key, %s", store.ErrUntrusted, h.ID, signer),
		"if that is a former key of this host, name it: --trust "+signer+"; or choose another golden by its id")
}

// own returns what says whether a key is this host's. A host that has none yet takes any for it.
func (e *Engine) own() (func(signer ed25519.PublicKey) bool, error) {
	key, err := signing.Key(e.o.Dir, false)
	return func(signer ed25519.PublicKey) bool { return key == nil || signer.Equal(key.Public()) }, err
}

// means says whether i could be the golden.
func (r Ref) means(i *store.Info) bool {
	if i.ID == r.Golden {
		return true
	}
	h := &i.Header
	if h.ID == "" { // cannot be read: nothing but its id is known
		return r.Golden == shivx.GoldenLatest || strings.HasPrefix(i.ID, r.Golden)
	}
	if h.Host != r.Host || (r.Kind != "" && h.Kind != format.Kind(r.Kind)) {
		return false
	}
	return r.Golden == shivx.GoldenLatest || h.Name == r.Golden || strings.HasPrefix(i.ID, r.Golden)
}

func infoOf(h format.Header, signer ed25519.PublicKey) shivx.GoldenInfo {
	info := shivx.GoldenInfo{
		ID: h.ID, Set: h.Set, Host: h.Host, Name: h.Name, Kind: shivx.GoldenKind(h.Kind), Created: h.Created, KeepUntil: h.Until,
		Files: h.Files, Bytes: h.Bytes, Unstable: len(h.Unstable), Skipped: len(h.Skipped), Missing: len(h.Missing),
	}
	if signer != nil {
		info.Key = base64.StdEncoding.EncodeToString(signer)
	}
	return info
}
