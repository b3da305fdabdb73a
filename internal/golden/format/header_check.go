package format

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxName is the greatest length in bytes of the names in a header.
const MaxName = 255

// MaxSegment is the greatest length of a segment's lines in bytes, which is that of the line of a
// file of 15 TB.
const MaxSegment = 1 << 30

// CheckName says whether a name of a set, golden or store is safe as the name of a file: 1 to 100
// letters, digits, '.', '_' and '-', the first a letter or a digit.
func CheckName(name string) error {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return fmt.Errorf("name %.100q: only letters, digits, '.', '_' and '-', the first a letter or a digit", name)
		}
	}
	if name == "" || len(name) > 100 {
		return fmt.Errorf("name %.100q: 1 to 100 characters", name)
	}
	return nil
}

func (h *Header) check() error {
	if h.Format != Version {
		return fmt.Errorf("format %d", h.Format)
	}
	for _, name := range []string{h.Store, h.ID, h.Set} {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	if h.Host == "" {
		return errors.New("no host")
	}
	if err := errors.Join(checkTexts(MaxName, h.Host, h.Name), checkTexts(MaxPath, h.Run)); err != nil {
		return err
	}
	if h.Kind != KindBackup && h.Kind != KindSnapshot {
		return fmt.Errorf("unknown kind %q", h.Kind)
	}
	if h.Created.IsZero() || !writable(h.Created) || !writable(h.Until) {
		return fmt.Errorf("created %v, kept until %v: not times that can be", h.Created, h.Until)
	}
	if !(h.Taken >= 0) || math.Signbit(h.Taken) || math.IsInf(h.Taken, 0) {
		return fmt.Errorf("taken in %v seconds", h.Taken)
	}
	if err := h.checkRoots(); err != nil {
		return err
	}
	if err := h.checkTexts(); err != nil {
		return err
	}
	return h.checkLists()
}

// writable says whether RFC 3339 has the time.
func writable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

func checkTexts(most int, texts ...string) error {
	for _, s := range texts {
		if len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("%.100q is too long, is not UTF-8 or has a control character", s)
		}
	}
	return nil
}

func (h *Header) checkRoots() error {
	if len(h.Roots) == 0 {
		return errors.New("no roots")
	}
	for i, root := range h.Roots {
		if err := CheckPath(root); err != nil {
			return fmt.Errorf("root: %w", err)
		}
		if i > 0 && (ComparePaths(h.Roots[i-1], root) >= 0 || Below(h.Roots[i-1], root)) {
			return fmt.Errorf("roots %q and %q are out of order, or one is below the other", h.Roots[i-1], root)
		}
	}
	rest := h.Roots // both are in order
	for _, root := range h.Missing {
		i := slices.Index(rest, root)
		if i < 0 {
			return fmt.Errorf("missing root %q is none, or out of order", root)
		}
		rest = rest[i+1:]
	}
	return nil
}

// checkTexts checks what people wrote and what went wrong. Roots are written as strings, so they
// must be valid UTF-8: they come from a configuration, which is.
func (h *Header) checkTexts() error {
	if err := checkTexts(MaxPath, h.Roots...); err != nil {
		return err
	}
	if err := checkTexts(MaxPath, h.Exclude...); err != nil {
		return err
	}
	for _, n := range slices.Concat(h.Unstable, h.Skipped) {
		if err := CheckPath(n.Path); err != nil {
			return fmt.Errorf("note: %w", err)
		}
	}
	for _, s := range h.Sources {
		if err := CheckPath(s.Path); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if s.Name == "" || s.Type == "" {
			return fmt.Errorf("source of %q has no name or no type", s.Path)
		}
		if err := checkTexts(MaxPath, s.Name, s.Type, s.Path); err != nil {
			return err
		}
	}
	return nil
}

func (h *Header) checkLists() error {
	if h.Entries < 0 || h.Files < 0 || h.Files > h.Entries || h.Bytes < 0 {
		return fmt.Errorf("%d entries, %d files, %d bytes", h.Entries, h.Files, h.Bytes)
	}
	if (h.Entries == 0) != (len(h.Segments) == 0) {
		return fmt.Errorf("%d entries in %d segments", h.Entries, len(h.Segments))
	}
	for i, s := range h.Segments {
		// What cannot be compressed becomes a little longer.
		if s.Plain <= 0 || s.Plain > MaxSegment || s.Stored <= 0 || s.Stored > s.Plain+s.Plain/128+1024 {
			return fmt.Errorf("segment %d of %d bytes, %d stored", i, s.Plain, s.Stored)
		}
	}
	for i := range h.Packs {
		if i > 0 && slices.Compare(h.Packs[i-1][:], h.Packs[i][:]) >= 0 {
			return fmt.Errorf("pack %s twice or out of order", h.Packs[i])
		}
	}
	return nil
}
