package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/shivx/shivx"
)

// keyState is the content of <path>.key: the seed that signs the next head and the seed after it.
// Both are there before the head that names the second key is written, so that no crash can leave
// a head whose next key nobody holds.
type keyState struct {
	Ledger  string `json:"ledger"`
	Genesis string `json:"genesis"`
	Epoch   uint64 `json:"epoch"`
	Seed    []byte `json:"seed"`
	Next    []byte `json:"next_seed"`
}

func newKeyState(ledger string) keyState {
	k := keyState{Ledger: ledger, Seed: newSeed(), Next: newSeed()}
	k.Genesis = public(k.Seed)
	return k
}

func newSeed() []byte {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails: crypto/rand ends the process instead
	return seed
}

// public returns the public key of a seed in base64.
func public(seed []byte) string {
	key := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return base64.StdEncoding.EncodeToString(key)
}

// evolved is the state after a head was signed; the seed that signed it is not in it.
func (k keyState) evolved() keyState {
	return keyState{Ledger: k.Ledger, Genesis: k.Genesis, Epoch: k.Epoch + 1, Seed: k.Next, Next: newSeed()}
}

// readKey reads the key file; fs.ErrNotExist when there is none, errBadKey when it is of no use. A
// file that a writer replaced and wiped meanwhile is no bad key: the one in its place is read.
func readKey(path string) (k keyState, err error) {
	for {
		var replaced bool
		if k, replaced, err = readKeyOnce(path); !replaced || !errors.Is(err, errBadKey) {
			return k, err
		}
	}
}

// readKeyOnce tells besides whether another file stands in the place of the one it has read.
func readKeyOnce(path string) (k keyState, replaced bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, false, err
	}
	var data []byte
	if err == nil {
		defer f.Close()
		data, err = io.ReadAll(f)
		defer clear(data)
	}
	if err != nil {
		return k, false, shivx.Hint(fmt.Errorf("read ledger key: %w", err), "the key file must be readable by the ledger's writer")
	}
	if json.Unmarshal(data, &k) == nil && len(k.Seed) == ed25519.SeedSize && len(k.Next) == ed25519.SeedSize {
		return k, false, nil
	}
	was, err := f.Stat()
	is, errNow := os.Stat(path)
	replaced = err == nil && errNow == nil && !os.SameFile(was, is)
	return k, replaced, fmt.Errorf("read ledger key %s: %w", path, errBadKey)
}

var errBadKey = errors.New("not a ledger key file")

// writeKey replaces the key file atomically and wipes what it replaced: the old file's blocks are
// overwritten before they are given back, as far as the file system writes in place.
func writeKey(path string, k keyState) error {
	data, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("write ledger key: %w", err)
	}
	defer clear(data)
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return writeHint(fmt.Errorf("write ledger key: %w", err))
	}
	if err := writeSynced(path+".tmp", data); err != nil {
		return writeHint(fmt.Errorf("write ledger key: %w", errors.Join(err, closeIf(old))))
	}
	err = os.Rename(path+".tmp", path)
	if err == nil {
		err = syncDir(path)
	}
	if err != nil {
		return writeHint(fmt.Errorf("write ledger key: %w", errors.Join(err, closeIf(old))))
	}
	if old == nil {
		return nil
	}
	if err := wipe(old); err != nil {
		return fmt.Errorf("erase old ledger key: %w", err)
	}
	return nil
}

func closeIf(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// wipe overwrites a file with zeros and closes it.
func wipe(f *os.File) error {
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// removeLeftover wipes the file that a crash in writeKey left.
func removeLeftover(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("erase left-over ledger key: %w", err)
	}
	if err := errors.Join(wipe(f), os.Remove(path)); err != nil {
		return fmt.Errorf("erase left-over ledger key: %w", err)
	}
	return nil
}
