package integrity

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// baseline is what should be there. It is never changed: another takes its place.
type baseline struct {
	head
	// root is the hash over the file that holds it.
	root    string
	tickets []kept
	// entries in the order of their paths' bytes.
	entries []entry
}

// head is the first line of a baseline's file.
type head struct {
	Format  string    `json:"format"`
	At      time.Time `json:"created_at"`
	By      string    `json:"by"`
	Why     string    `json:"why,omitempty"`
	Paths   []string  `json:"paths"`
	Exclude []string  `json:"exclude,omitempty"`
	Entries int       `json:"entries"`
	// Key that signs, in base64 of its DER form.
	Key string `json:"key"`
}

// index is where the path's entry is, or would be.
func (b *baseline) index(path string) (i int, found bool) {
	i = sort.Search(len(b.entries), func(i int) bool { return b.entries[i].path >= path })
	return i, i < len(b.entries) && b.entries[i].path == path
}

// find returns the entry of a path; of one without, an entry that is gone.
func (b *baseline) find(path string) entry {
	if i, ok := b.index(path); ok {
		return b.entries[i]
	}
	return entry{path: path}
}

// below is where the entries below a folder are: from i up to and without j.
func (b *baseline) below(folder string) (i, j int) {
	prefix := join(folder, "")
	i = sort.Search(len(b.entries), func(i int) bool { return b.entries[i].path >= prefix })
	j = i + sort.Search(len(b.entries)-i, func(k int) bool { return !strings.HasPrefix(b.entries[i+k].path, prefix) })
	return i, j
}

// with returns the entries as they are with the changes; one that is gone is left out.
func (b *baseline) with(changes map[string]entry) []entry {
	entries := make([]entry, 0, len(b.entries)+len(changes))
	for _, e := range b.entries {
		if _, changed := changes[e.path]; !changed {
			entries = append(entries, e)
		}
	}
	for _, e := range changes {
		if e.form != gone {
			entries = append(entries, e)
		}
	}
	sortEntries(entries)
	return entries
}

func sortEntries(entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
}

// differShown is how many paths a summary names.
const differShown = 50

// summary says what the baseline is, and how it differs from the one before.
func (b *baseline) summary(before *baseline) Summary {
	s := Summary{
		Root: b.root, At: b.At, By: b.By, Why: b.Why, Before: before.root, Entries: len(b.entries), Paths: b.Paths, Exclude: b.Exclude,
	}
	differ := func(count *int, path string) {
		if *count++; len(s.Differ) < differShown {
			text, raw := split(path)
			s.Differ = append(s.Differ, text+strings.ToValidUTF8(string(raw), "\uFFFD"))
		}
	}
	for i, j := 0, 0; before.root != "" && (i < len(before.entries) || j < len(b.entries)); {
		switch {
		case j == len(b.entries) || i < len(before.entries) && before.entries[i].path < b.entries[j].path:
			differ(&s.Removed, before.entries[i].path)
			i++
		case i == len(before.entries) || b.entries[j].path < before.entries[i].path:
			differ(&s.Added, b.entries[j].path)
			j++
		default:
			if before.entries[i].facts != b.entries[j].facts {
				differ(&s.Changed, b.entries[j].path)
			}
			i, j = i+1, j+1
		}
	}
	for _, e := range b.entries {
		if e.trouble != "" {
			s.Unreadable++
		}
	}
	return s
}
