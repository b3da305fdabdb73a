package builtin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// A recovery by the plugins cgroup and systemd changes what an isolation changes, such as a limit that is raised before
// it is reached. It stays, unless undo puts it back, and the next run takes it for what it finds. So what a recovery
// has found is kept for its run alone, apart from what an isolation has.

// keptFolder begins the names of the folders for it.
const keptFolder = "recover-"

// ofRun returns the request with a folder of the run's own.
func ofRun(req sdk.Request) sdk.Request {
	if req.WorkDir != "" {
		sum := sha256.Sum256([]byte(req.Component + "\x00" + req.Run))
		req.WorkDir = filepath.Join(req.WorkDir, keptFolder+hex.EncodeToString(sum[:8]))
	}
	return req
}

// forgetRuns removes what runs before that of req have found; the change they made is to stay.
func forgetRuns(req sdk.Request) error {
	if req.WorkDir == "" || req.Plan {
		return nil
	}
	entries, err := os.ReadDir(req.WorkDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("what earlier runs have kept: %w", err)
	}
	now, prefix := ofRun(req), strings.ReplaceAll(req.Component, "/", "_")+"."
	for _, e := range entries {
		folder := filepath.Join(req.WorkDir, e.Name())
		if !strings.HasPrefix(e.Name(), keptFolder) || folder == now.WorkDir {
			continue
		}
		files, err := os.ReadDir(folder)
		if err != nil || len(files) == 0 || !strings.HasPrefix(files[0].Name(), prefix) {
			continue // another component's
		}
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("what earlier runs have kept: %w", err)
		}
	}
	return nil
}

// recovered is the answer of a recovery that did what an isolation does.
func recovered(req sdk.Request, res sdk.Result, what string) sdk.Result {
	if !req.Plan {
		res.Summary = "changed " + what
	}
	return res
}

// Recover writes the settings; they stay.
func (c *Cgroup) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, _, err := parseCgroup(req.Options)
	if err == nil {
		err = forgetRuns(req)
	}
	if err != nil {
		return sdk.Result{}, err
	}
	res, err := c.Isolate(ctx, ofRun(req))
	return recovered(req, res, "cgroup "+o.Path), err
}

// Undo puts back what Recover found.
func (c *Cgroup) Undo(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return c.Reintegrate(ctx, ofRun(req))
}

// Recover brings the unit about as the options say; it stays so.
func (p *Systemd) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, _, err := parseSystemd(req.Options)
	if err == nil {
		err = forgetRuns(req)
	}
	if err != nil {
		return sdk.Result{}, err
	}
	res, err := p.Isolate(ctx, ofRun(req))
	return recovered(req, res, "unit "+o.Unit), err
}

// Undo puts back what Recover found.
func (p *Systemd) Undo(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return p.Reintegrate(ctx, ofRun(req))
}
