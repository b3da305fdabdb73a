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
	add("kept the state of before in", c.Kept)
	return words
}

// warnings says what a checkpoint is not sure of.
func warnings(c checkpoint.Checkpoint) []string {
	if len(c.Unstable) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("note: %s changed while the checkpoint was taken", strings.Join(c.Unstable, ", "))}
}

// fromStore passes the hint of the checkpoint store on.
func fromStore(err error) error {
	return failed(err, hintOf(err, "look for another one in the store of the checkpoints: shivx golden list --store"))
}
