package store

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// Info is what a list says of a golden.
type Info struct {
	Set, ID string
	// Header has no Segments and Packs here. It is zero where the golden cannot be read.
	Header format.Header
	// Size of the golden's file in bytes, without the packs.
	Size   int64
	Signer ed25519.PublicKey
	// Err says what is wrong: ErrDamaged, ErrVersion, ErrUntrusted, or an error of reading.
	Err error
}

// Created is when the golden was begun, as far as that is known.
func (i *Info) Created() time.Time {
	if !i.Header.Created.IsZero() {
		return i.Header.Created
	}
	t, _ := timeOf(i.ID) // zero where even the name is damaged: the oldest
	return t
}

// List returns the goldens of a set, or of all where set is "", newest first. One that is damaged or
// untrusted has an Err.
func (s *Store) List(ctx context.Context, set string) ([]Info, error) {
	prefix := goldensDir
	if set != "" {
		if err := format.CheckName(set); err != nil {
			return nil, fmt.Errorf("set: %w", err)
		}
		prefix += set + "/"
	}
	var all []Info
	for info, err := range s.backend.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list the goldens: %w", err)
		}
		set, id, ok := parseGoldenName(info.Name)
		if !ok {
			continue
		}
		i := Info{Set: set, ID: id, Size: info.Size}
		if h, err := s.info(ctx, info.Name); err == nil || h.header != nil {
			i.Header, i.Signer, i.Err = *h.header, h.signer, err
			i.Header.Segments, i.Header.Packs = nil, nil
		} else if i.Err = err; errors.Is(err, fs.ErrNotExist) {
			continue // pruned meanwhile
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Info) int {
		return -cmp.Or(a.Created().Compare(b.Created()), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

func (s *Store) info(ctx context.Context, name string) (head, error) {
	o, err := s.backend.Open(ctx, name)
	if err != nil {
		return head{}, err
	}
	defer func() { _ = o.Close() }()
	return s.readHead(o, name)
}

// Find opens the golden that ref means: "latest", "SET/latest", an id, the beginning of just one
// id, "SET/ID", or a name. The errors are fs.ErrNotExist, ErrDamaged, ErrVersion and ErrUntrusted. The latest
// is never replaced by an older one because it is damaged: that is for people to choose.
func (s *Store) Find(ctx context.Context, ref string) (*Golden, error) {
	set, rest, two := strings.Cut(ref, "/")
	if !two {
		set, rest = "", ref
	} else if err := format.CheckName(set); err != nil {
		return nil, fmt.Errorf("golden %q: set: %w", ref, err)
	}
	all, err := s.List(ctx, set)
	if err != nil {
		return nil, err
	}
	found, err := choose(all, ref, rest)
	if err != nil {
		return nil, err
	}
	g, err := s.Open(ctx, found)
	if err == nil {
		return g, nil
	}
	if rest == latest {
		for _, older := range all {
			if older.Err == nil {
				return nil, shivx.Hint(err, fmt.Sprintf("the newest golden that can be used is %s of %s: name it",
					older.ID, older.Created().Format(time.RFC3339)))
			}
		}
	}
	return nil, err
}

const latest = "latest"

// choose returns the golden that ref means.
func choose(all []Info, whole, ref string) (Info, error) {
	if ref == latest && len(all) > 0 {
		return all[0], nil
	}
	matches := []func(*Info) bool{
		func(i *Info) bool { return i.ID == ref },
		func(i *Info) bool { return i.Header.Name == ref },
		func(i *Info) bool { return strings.HasPrefix(i.ID, ref) },
	}
	for _, match := range matches {
		var found []Info
		var ids []string
		for _, i := range all {
			if ref != "" && match(&i) {
				found = append(found, i)
				ids = append(ids, i.ID)
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			err := fmt.Errorf("%q means %d goldens", whole, len(found))
			return Info{}, shivx.Hint(err, "name one of them: "+strings.Join(ids[:min(len(ids), 10)], ", "))
		}
	}
	err := fmt.Errorf("there is no golden %q: %w", whole, fs.ErrNotExist)
	return Info{}, shivx.Hint(err, "shivx golden list shows those that there are")
}
