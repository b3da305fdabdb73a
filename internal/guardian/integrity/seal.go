package integrity

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
)

// checkSeal compares the baseline's files with what should be there. It is called with saving held.
func (w *Watch) checkSeal(ctx context.Context, b *batch) {
	if w.state.fresh {
		return // there is none yet
	}
	root, reason := w.checkBaseline(ctx)
	w.seal(ctx, b, baselineName, Finding{ExpectedHash: w.state.anchor, CurrentHash: root}, reason)
	reason = nil
	f := Finding{}
	if public := w.state.base.Key; public != "" {
		found, err := w.store.checkKey(public)
		reason = err
		if found != public {
			f.Details = map[string]any{"expected_key": public, "current_key": found}
		}
	}
	w.seal(ctx, b, keyName, f, reason)
}

// checkBaseline says what is wrong with the baseline's file, and the root of what is there.
func (w *Watch) checkBaseline(ctx context.Context) (root string, reason error) {
	is := newReader().observe(w.store.path(baselineName), w.Dir)
	if w.store.sum != [32]byte{} && is.hash() == hex.EncodeToString(w.store.sum[:]) {
		return w.state.anchor, private(is.mode, is.uid)
	}
	b, sum, err := w.store.readBaseline(baselineName)
	if b != nil {
		root = b.root
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", errors.New("it is missing")
	case err != nil:
		return root, err
	case w.state.anchor == "":
		return root, errors.New("there is no record of it") // unsigned at the start, signed since
	case root != w.state.anchor:
		return root, errors.New("it is not the one that was recorded, and signed with its key")
	case !w.state.trusted:
		w.restored(ctx, b, sum)
	}
	return root, nil
}

// restored takes the recorded baseline, which somebody has put back.
func (w *Watch) restored(ctx context.Context, b *baseline, sum [32]byte) {
	if key, err := w.store.readKey(); err == nil && publicText(key) == b.Key {
		w.store.key = key
	}
	w.store.sum, w.state.trusted, w.state.base = sum, true, b
	w.judging.Lock()
	w.take(b, nothing)
	w.judging.Unlock()
	w.requestVerification()
	w.Logger.InfoContext(ctx, "the recorded baseline is back in its place", "root", b.root)
}

// seal tells of a finding about one of the baseline's files, or that it is resolved. No ticket covers it.
func (w *Watch) seal(ctx context.Context, b *batch, name string, f Finding, reason error) {
	w.judging.Lock()
	defer w.judging.Unlock()
	w.mu.Lock()
	path := w.store.path(name)
	old, open := w.seals[path]
	if reason == nil {
		delete(w.seals, path)
		w.mu.Unlock()
		if open {
			w.record(ctx, RecordResolved, Resolved{Path: path, Kind: KindBaseline, At: w.Now(), Found: old.At})
		}
		return
	}
	if f.Details == nil {
		f.Details = map[string]any{}
	}
	f.Path, f.Kind, f.At, f.Details["reason"] = path, KindBaseline, w.Now(), reason.Error()
	if open && old.CurrentHash == f.CurrentHash && fmt.Sprint(old.Details) == fmt.Sprint(f.Details) {
		w.mu.Unlock()
		return
	}
	w.seals[path] = f
	w.mu.Unlock()
	b.told++
	w.Logger.Warn("tampering found", "path", f.Path, "kind", f.Kind, "reason", reason)
	w.Found(ctx, f)
}
