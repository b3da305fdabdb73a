package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	manifestName = "manifest.json"
	// sumName holds the manifest's own SHA-256.
	sumName = "manifest.sha256"
)

func saveManifest(c Checkpoint) error {
	data, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	sum := sha256.Sum256(data)
	return errors.Join(
		os.WriteFile(filepath.Join(c.Dir, manifestName), data, 0o600),
		os.WriteFile(filepath.Join(c.Dir, sumName), []byte(hex.EncodeToString(sum[:])+"\n"), 0o600),
	)
}

// Load reads the manifest of the checkpoint in dir and refuses one that was changed or
// whose entries could lead out of the state paths.
func Load(dir string) (Checkpoint, error) {
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("load checkpoint: %w", err)
	}
	want, err := os.ReadFile(filepath.Join(dir, sumName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, fmt.Errorf("load checkpoint: %w", err)
	}
	id := filepath.Base(dir)
	if sum := sha256.Sum256(data); strings.TrimSpace(string(want)) != hex.EncodeToString(sum[:]) {
		return Checkpoint{}, damaged(id, "its manifest does not match %s", sumName)
	}
	var c Checkpoint
	if err := json.Unmarshal(data, &c); err != nil {
		return Checkpoint{}, damaged(id, "its manifest cannot be read: %v", err)
	}
	c.Dir = dir
	for i := range c.Files {
		restoreRaw(&c.Files[i])
	}
	return c, c.check()
}

func restoreRaw(f *File) {
	if f.RawPath != nil {
		f.Path = string(f.RawPath)
		if f.Type == TypeFile {
			f.Stored = storedName(f.Path)
		}
	}
	if f.RawLink != nil {
		f.Link = string(f.RawLink)
	}
}

// check refuses a manifest that could read or write outside of where it should: every entry
// lies below a state path, every folder above it is an entry too and a folder, and the copy
// lies where the path says.
func (c Checkpoint) check() error {
	for _, p := range c.Paths {
		if !cleanAbs(p) {
			return damaged(c.ID, "state path %q is not absolute and clean", p)
		}
	}
	seen := make(map[string]FileType, len(c.Files))
	for _, f := range c.Files {
		if _, twice := seen[f.Path]; twice {
			return damaged(c.ID, "%q is listed twice", f.Path)
		}
		seen[f.Path] = f.Type
	}
	for _, f := range c.Files {
		if err := c.checkFile(f, seen); err != nil {
			return err
		}
	}
	return nil
}

func (c Checkpoint) checkFile(f File, seen map[string]FileType) error {
	if !cleanAbs(f.Path) {
		return damaged(c.ID, "path %q is not absolute and clean", f.Path)
	}
	switch {
	case f.Type == TypeFile && (f.Stored != storedName(f.Path) || len(f.SHA256) != 64):
		return damaged(c.ID, "entry %q is stored in the wrong place or has no hash", f.Path)
	case f.Type != TypeFile && f.Type != TypeDir && f.Type != TypeSymlink:
		return damaged(c.ID, "entry %q has the unknown type %q", f.Path, f.Type)
	case f.Mode&^0o7777 != 0:
		return damaged(c.ID, "entry %q has a mode of more than permissions", f.Path)
	}
	if c.rootOf(f.Path) == "" {
		return damaged(c.ID, "path %q lies outside of the state paths", f.Path)
	}
	if !slices.Contains(c.Paths, f.Path) && seen[filepath.Dir(f.Path)] != TypeDir {
		return damaged(c.ID, "path %q lies in something that is not a folder", f.Path)
	}
	return nil
}

// rootOf returns the state path that path belongs to, or "".
func (c Checkpoint) rootOf(path string) string {
	for _, p := range c.Paths {
		if within(path, p) {
			return p
		}
	}
	return ""
}

func cleanAbs(p string) bool {
	return filepath.IsAbs(p) && filepath.Clean(p) == p && p != "/" && !strings.ContainsRune(p, 0)
}
