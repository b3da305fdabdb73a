package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/store"
)

// ErrOtherStore says that the store is not the one that this host has used so far, or is not there.
var ErrOtherStore = errors.New("not the store that this host uses")

// pin is what a host remembers of its store: without it, a backup to a disk that is not mounted would begin a new
// store in its place, and one whose store was replaced would go to whoever has done that.
type pin struct {
	path string
	// Store is the id, Key says which key an encrypted store has without telling it.
	Store string `json:"store"`
	Key   string `json:"key,omitempty"`
}

// readPin returns nil where there is none yet.
func (e *Engine) readPin() (*pin, error) {
	if e.o.Pin == "" {
		return nil, nil
	}
	data, err := os.ReadFile(e.o.Pin)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	p := &pin{path: e.o.Pin}
	if err == nil {
		err = json.Unmarshal(data, p)
	}
	if err == nil && p.Store == "" {
		err = errors.New("it names no store")
	}
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("read which store this host uses: %s: %w", e.o.Pin, err),
			"if the store is the right one, remove the file: the next backup writes it anew")
	}
	return p, nil
}

// pinned compares an open store with the pin, which the first backup makes. Another one is read, for what is
// signed is believed wherever it lies, but nothing is stored there; s is closed then.
func (e *Engine) pinned(s *store.Store, p *pin, create bool) (*store.Store, error) {
	now := pin{Store: s.ID(), Key: s.KeyCheck()}
	readable := !s.Encrypted() || now.Key != ""
	switch {
	case e.o.Pin == "":
		return s, nil
	case p == nil && create && readable:
		if err := now.write(e.o.Pin); err != nil {
			return nil, errors.Join(fmt.Errorf("remember which store this host uses: %w", err), s.Close())
		}
		return s, nil
	case p == nil, p.Store == now.Store && (p.Key == now.Key || !readable):
		return s, nil
	}
	what := fmt.Sprintf("it has the id %s, and not %s", now.Store, p.Store)
	if p.Store == now.Store {
		what = "its key is another one, so that somebody else may be able to read what is stored there"
	}
	err := shivx.Hint(fmt.Errorf("%w: %s", ErrOtherStore, what),
		"check that the right disk is mounted; if the store was changed on purpose, remove "+p.path+": the next backup takes the one that is there")
	if create {
		return nil, errors.Join(err, s.Close())
	}
	e.o.Logger.Warn("the store is another one than this host backs up to", "error", err)
	return s, nil
}

// missing is the error for a store that was there; it is no fs.ErrNotExist, for something was stored.
func (p *pin) missing(why error) error {
	return shivx.Hint(fmt.Errorf("%w: the store %s is not there: %v", ErrOtherStore, p.Store, why), //nolint:errorlint // see above
		"check that its disk is mounted; if a new store is to be made, remove "+p.path+": the next backup makes it")
}

func (p *pin) write(path string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, append(data, '\n'), 0o600)
}
