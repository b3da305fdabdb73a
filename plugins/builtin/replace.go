package builtin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/plugins/sdk"
)

// good returns the content that replaces the file, what the checkpoint says of the file if it comes from one, and
// a name for people.
func (s *State) good(ctx context.Context, r replacement, req sdk.Request) ([]byte, *checkpoint.File, string, error) {
	if r.With != "" {
		data, err := os.ReadFile(r.With)
		return data, nil, r.With, failed(err, "the known good copy is missing; check the option replace")
	}
	if req.HealthyErr != nil {
		return nil, nil, "", unread("last healthy checkpoint", req, req.HealthyErr)
	}
	if req.HealthyID == "" || s.store == nil {
		return nil, nil, "", sdk.Failf("set state.paths and state.every, so that checkpoints are taken while the component is healthy",
			"there is no healthy checkpoint to take %s from", r.File)
	}
	c, err := s.store.Get(ctx, req.HealthyID)
	if err != nil {
		return nil, nil, "", fromStore(err)
	}
	data, f, err := s.store.ReadFile(ctx, c, r.File)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, "", sdk.Failf("add it to state.paths", "checkpoint %s does not hold the file %s", c.ID, r.File)
	}
	return data, &f, "the copy in checkpoint " + c.ID, fromStore(err)
}

// replace replaces the file in one step and keeps the broken one beside it.
func (s *State) replace(ctx context.Context, r replacement, req sdk.Request) ([]string, error) {
	data, f, from, err := s.good(ctx, r, req)
	if err != nil {
		return nil, err
	}
	path, err := filepath.EvalSymlinks(r.File)
	if errors.Is(err, os.ErrNotExist) {
		path, err = r.File, nil
	}
	if err != nil {
		return nil, fmt.Errorf("replace %s: %w", r.File, err)
	}
	broken, err := os.ReadFile(path)
	if err == nil && string(broken) == string(data) {
		return nil, nil
	}
	var changes []string
	if err == nil {
		beside := brokenName(path, req.Key)
		if err := keepOld(beside, broken); err != nil {
			return nil, err
		}
		changes = append(changes, "kept the broken file as "+beside)
	}
	if err := replaceFile(path, data); err != nil {
		return nil, err
	}
	if f != nil {
		if err := errors.Join(os.Chown(path, f.UID, f.GID), os.Chmod(path, os.FileMode(f.Mode&0o777))); err != nil {
			return nil, fmt.Errorf("replace %s: %w", path, err)
		}
	}
	return append(changes, fmt.Sprintf("replaced %s by %s", path, from)), nil
}

// brokenName is where the broken file of this step lies. The dot keeps it out of "include *".
func brokenName(path, key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".broken-"+hex.EncodeToString(sum[:4]))
}
