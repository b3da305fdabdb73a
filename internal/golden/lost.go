package golden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// clockSlack is how far the clock may be behind the newest golden.
const clockSlack = time.Hour

// inOrder refuses a golden that would be older than one that is there: latest would not be the last one, and
// retention would go by an order that never was. A snapshot is taken all the same, for in a lockdown one that is
// hard to find is better than none. The error is store.ErrClock.
func (e *Engine) inOrder(ours []store.Info, o Order) error {
	if len(ours) == 0 {
		return nil
	}
	newest := &ours[0]
	now, at := time.Now(), newest.Created()
	if at.Sub(now) <= clockSlack {
		return nil
	}
	file := "goldens/" + newest.Set + "/" + newest.ID + ".golden"
	err := shivx.Hint(fmt.Errorf("%w: it says %s, and the golden %s is of %s", store.ErrClock, now.UTC().Format(time.RFC3339),
		newest.ID, at.UTC().Format(time.RFC3339)),
		"check this host's clock with timedatectl; when it is right, it was wrong then, and that golden has to go: "+
			"shivx golden prune --clock-is-right --remove "+newest.Set+"/"+newest.ID+"; one that must be kept by its date goes by hand: remove "+
			file+" and parity/"+file+".par from the store")
	if o.Kind == shivx.GoldenKindSnapshot {
		e.o.Logger.Warn("the snapshot is older than a golden that is there", "set", o.Set, "error", err)
		return nil
	}
	return err
}

// lost refuses a golden that lacks a path of the set which the golden before has: one whose disk is not mounted
// looks like one that is gone. Retention would then remove the goldens that still have it, and a restore the files.
// Of a snapshot it returns what is wrong instead.
func (e *Engine) lost(ctx context.Context, s *store.Store, ours []store.Info, set Set, o Order) ([]string, error) {
	suspects := suspectsOf(set.Paths)
	if o.AllowMissing || len(suspects) == 0 {
		return nil, nil
	}
	before := slices.IndexFunc(ours, func(i store.Info) bool {
		return o.Kind == shivx.GoldenKindSnapshot || o.Kind == "" || i.Header.Kind == format.Kind(o.Kind)
	})
	if before < 0 {
		return nil, nil
	}
	err := compareWith(ctx, s, ours[before], suspects)
	if o.Kind == shivx.GoldenKindSnapshot && err != nil && ctx.Err() == nil {
		e.o.Logger.Warn("the snapshot lacks what an earlier golden has", "set", o.Set, "error", err)
		return []string{err.Error()}, nil
	}
	return nil, err
}

// suspect is a path of a set of which there is nothing.
type suspect struct {
	path string
	// empty: it is a folder, in which there is nothing.
	empty bool
}

func (s suspect) String() string {
	if s.empty {
		return s.path + " is empty"
	}
	return s.path + " is missing"
}

// lacks says whether a path is one that the suspect does not have.
func (s suspect) lacks(path string) bool {
	return format.Below(s.path, path) && (!s.empty || path != s.path)
}

func suspectsOf(paths []string) []suspect {
	var list []suspect
	for _, p := range paths {
		p = filepath.Clean(p)
		info, err := os.Lstat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			list = append(list, suspect{p, false})
		case err == nil && info.IsDir() && isEmpty(p):
			list = append(list, suspect{p, true})
		}
	}
	return list
}

func isEmpty(folder string) bool {
	f, err := os.Open(folder)
	if err != nil {
		return false // the capture says why
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// compareWith returns an error when a golden has entries of a suspect. What it has of exports says nothing of
// what was there.
func compareWith(ctx context.Context, s *store.Store, before store.Info, suspects []suspect) error {
	g, err := s.Open(ctx, before)
	if err != nil {
		return fmt.Errorf("%s; whether the golden before had it cannot be read: %w", suspects[0], err)
	}
	sources := g.Header().Sources
	for entry, err := range g.Entries(ctx) {
		if err != nil {
			return fmt.Errorf("%s; whether the golden before had it cannot be read: %w", suspects[0], err)
		}
		i := slices.IndexFunc(suspects, func(s suspect) bool { return s.lacks(entry.Path) })
		if i < 0 || slices.ContainsFunc(sources, func(src format.Source) bool { return format.Below(src.Path, entry.Path) }) {
			continue
		}
		return shivx.Hint(fmt.Errorf("%w: %s, and the golden %s of %s has %s", ErrLost, suspects[i], before.ID,
			before.Created().Local().Format(time.DateTime), entry.Path),
			"mount it, or bring it back: shivx golden restore "+before.Set+"/"+before.ID+"; if it is gone on purpose: shivx golden backup "+
				before.Set+" --allow-missing")
	}
	return nil
}
