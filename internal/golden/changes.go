package golden

import (
	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/restore"
)

// mostPaths is how many changed paths a summary names.
const mostPaths = 100

// Summary is what of changes goes into a run's result. A whole restore replaces without comparing: all that
// it writes counts as replaced.
func Summary(c restore.Changes) shivx.GoldenChanges {
	out := shivx.GoldenChanges{
		Added: c.Added.Entries, Removed: c.Removed.Entries, Changed: c.Content.Entries + c.Metadata.Entries,
		Unchanged: c.Same.Entries, Bytes: c.Written.Bytes,
	}
	if !c.Any() {
		out.Replaced = c.Written.Entries
	}
	for _, note := range c.Notes {
		out.Paths = append(out.Paths, "! "+note)
	}
	marks := map[restore.Kind]string{restore.Added: "+ ", restore.Removed: "- ", restore.Content: "~ ", restore.Metadata: "~ "}
	for _, one := range c.List[:min(mostPaths, len(c.List))] {
		out.Paths = append(out.Paths, marks[one.Kind]+one.Path)
	}
	return out
}
