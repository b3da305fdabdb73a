package builtin

import (
	"fmt"
	"strings"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/plugins/sdk"
)

// progressBytes passes the progress of a copy on to people.
func progressBytes(req sdk.Request, did string) func(done, total int64) {
	return func(done, total int64) { req.Progress("%s %d of %d MB", did, done>>20, total>>20) }
}

// already says that nothing was left to do.
func already(s service, c checkpoint.Checkpoint) sdk.Result {
	said := "already restored and started"
	if !s.managed() {
		said = "already as in checkpoint " + c.ID
		if len(c.Lacking) > 0 {
			said += ", as far as that has it"
		}
	}
	return sdk.Result{Summary: said, Changes: warnings(c)}
}

// describe says in words what a restore did.
func describe(c checkpoint.Changes) []string {
	var words []string
	add := func(what string, paths []string) {
		if len(paths) > 0 {
			words = append(words, what+" "+strings.Join(paths, ", "))
		}
	}
	add("restored", c.Restored)
	add("removed, as it did not exist at the checkpoint:", c.Removed)
	add("already as in the checkpoint:", c.Unchanged)
	add("left as it is, as the checkpoint does not have it:", c.Unknown)
	add("kept the state of before in", c.Kept)
	return words
}

// warnings says what a checkpoint is not sure of, and what it lacks.
func warnings(c checkpoint.Checkpoint) []string {
	var notes []string
	if len(c.Unstable) > 0 {
		notes = append(notes, "note: "+someOf(c.Unstable, asIs)+" changed while the checkpoint was taken")
	}
	if len(c.Lacking) > 0 {
		notes = append(notes, "note: not in the checkpoint, as it could not be read, and left as it is now: "+someOf(c.Lacking, withKept))
	}
	return notes
}

// mostNamed is how many paths a note names.
const mostNamed = 20

// someOf lists the first of paths in words.
func someOf(paths []string, word func(string) string) string {
	var words []string
	for _, p := range paths[:min(mostNamed, len(paths))] {
		words = append(words, word(p))
	}
	list := strings.Join(words, ", ")
	if more := len(paths) - len(words); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

func asIs(path string) string { return path }

// withKept names the copies of what lay at a path that restores have kept: what no checkpoint has may be in them.
func withKept(path string) string {
	if kept := checkpoint.Kept(path); len(kept) > 0 {
		return path + " (an earlier one is kept as " + strings.Join(kept, ", ") + ")"
	}
	return path
}

// fromStore passes the hint of the checkpoint store on.
func fromStore(err error) error {
	return failed(err, hintOf(err, "look for another one in the store of the checkpoints: shivx golden list --store"))
}
