package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/shivx/shivx/internal/golden/format"
)

// Commit makes all durable and then gives the golden its name. It fills the header's Format, Store,
// ID, Created (when the writer began), Entries, Files, Bytes, Segments and Packs. All lanes must be
// closed. After an error there is no golden, or one that may be lost with the power; the other goldens are
// as they were.
func (w *Writer) Commit(ctx context.Context, h format.Header) (*Golden, error) {
	defer w.Abort() // what is left: the lock
	if err := w.settle(); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	if err := w.publish(ctx, w.takeWaiting()); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	name, err := w.writeGolden(ctx, &h)
	if err != nil {
		return nil, fmt.Errorf("backup: write the golden: %w", err)
	}
	g, err := w.s.openGolden(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read what was written: %w", err)
	}
	return g, nil
}

// settle waits until nothing is under way.
func (w *Writer) settle() error {
	w.mu.Lock()
	ended, open := w.ended, len(w.lanes)
	w.mu.Unlock()
	if ended {
		return errors.New("the writer has ended")
	}
	if open > 0 {
		return fmt.Errorf("%d lanes are not closed", open)
	}
	w.publishing.Wait()
	return errors.Join(w.failed(), w.entries.finish())
}

func (w *Writer) takeWaiting() []finished {
	w.mu.Lock()
	defer w.mu.Unlock()
	some := w.waiting
	w.waiting = nil
	return some
}

// usedPacks are the names of the packs that the golden needs.
func (w *Writer) usedPacks() []format.Hash {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []format.Hash
	for _, p := range w.packs {
		if p.used {
			names = append(names, p.name)
		}
	}
	slices.SortFunc(names, func(a, b format.Hash) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(names)
}

// writeGolden signs the header and writes the golden's file.
func (w *Writer) writeGolden(ctx context.Context, h *format.Header) (string, error) {
	h.Format, h.Store, h.ID, h.Created = format.Version, w.s.id, w.id, w.begun
	h.Entries, h.Files, h.Bytes = w.entries.entries, w.entries.files, w.entries.bytes
	h.Segments, h.Packs = w.entries.segments, w.usedPacks()
	head, err := format.AppendHeader(nil, h)
	if err != nil {
		return "", err
	}
	sig, err := format.Sign(head, w.s.sign)
	if err != nil {
		return "", err
	}
	name := goldenName(h.Set, h.ID)
	if o, err := w.s.backend.Open(ctx, name); err == nil {
		_ = o.Close()
		return "", fmt.Errorf("there is a golden %s already", name)
	}
	f, err := w.s.backend.Create(ctx)
	if err != nil {
		return "", err
	}
	defer func() { w.logged(f.Discard()) }()
	if _, err := f.Write(append(head, sig...)); err != nil {
		return "", err
	}
	if _, err := io.Copy(f, w.entries.read()); err != nil {
		return "", err
	}
	// With the golden also the names of its packs become durable.
	if err := w.s.backend.Sync(ctx); err != nil {
		return "", err
	}
	return name, f.Publish(ctx, name)
}
