package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"

	"github.com/shivx/shivx"
	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/config"
	engine "github.com/shivx/shivx/internal/golden"
)

// coded gives an error of the engine its exit code, unless it has one; otherwise is that of all others: exitError,
// or exitNotHealed once something has begun.
func coded(err error, otherwise int) error {
	if err == nil {
		return nil
	}
	if _, has := errors.AsType[*codeError](err); has {
		return err
	}
	if errors.Is(err, fs.ErrPermission) && !strings.Contains(shivx.HintOf(err), "root") {
		err = hint(err, strings.TrimSuffix("run it as root (sudo); else "+shivx.HintOf(err), "; else "))
	}
	err = goldenacts.Plain(err)
	switch o := goldenacts.OutcomeOf(err); {
	case o != shivx.OutcomeFailed:
		return withCode(codeOfGolden(o), err)
	case errors.Is(err, engine.ErrOver): // there is nothing left to do for who asks
		return withCode(exitRefused, err)
	case otherwise == exitError:
		return err
	default:
		return withCode(otherwise, err)
	}
}

// exitCode is the exit code of an error.
func exitCode(err error) int {
	if c, ok := errors.AsType[*codeError](err); ok {
		return c.code
	}
	return exitError
}

// codeOfGolden is the exit code of a run that ended so.
func codeOfGolden(o shivx.Outcome) int {
	switch {
	case o.GoldenDone():
		return exitOK
	case o == shivx.OutcomeRefused:
		return exitRefused
	case o == shivx.OutcomeDamaged:
		return exitTampered
	default:
		return exitNotHealed
	}
}

// underWay explains why a run of that id cannot be started.
func underWay(id string, err error) error {
	if already, ok := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); ok {
		return withCode(exitRefused, hint(fmt.Errorf("%s is under way already, as the run %s", id, already.RunId),
			"see it: shivx runs show "+id+"; stop it: shivx abort "+id))
	}
	return explain("start "+id, err)
}

// errorDocument is what a golden command prints with -o json when it has no result.
type errorDocument struct {
	Error    string `json:"error"`
	Hint     string `json:"hint,omitempty"`
	ExitCode int    `json:"exit_code"`
}

// reportGolden tells programs of an error: as the document, or beside one that was printed.
func (a *app) reportGolden(err error, advice string, code int) {
	d := errorDocument{err.Error(), advice, code}
	if !a.documented {
		_ = a.document(d)
		return
	}
	_ = a.jsonLine(a.err.w, d)
}

// isGolden says whether a command is one of goldens.
func isGolden(c *cobra.Command) bool {
	for ; c != nil; c = c.Parent() {
		if c.Name() == "golden" {
			return true
		}
	}
	return false
}

// namedGolden is a golden command in a hint, of those that look at a store.
var namedGolden = regexp.MustCompile(`\bshivx golden (list|verify|restore|resume|diff|browse|scrub|prune|backup)\b`)

// dressed adds to the commands that a text names what this one was told about where to look.
func (a *app) dressed(text string) string {
	return namedGolden.ReplaceAllStringFunc(text, func(found string) string {
		name := strings.TrimPrefix(found, "shivx golden ")
		switch {
		case a.bare.store == "" && a.config != "":
			return found + " --config " + quoted(a.config)
		case a.bare.store == "" || name == "backup":
			return found
		}
		found += " --store " + quoted(a.bare.store)
		for _, f := range []struct{ flag, value string }{{"identity", a.bare.identity}, {"host", a.bare.host}, {"var", a.bare.vars}} {
			if f.value != "" && (f.flag != "var" || f.value != bareVar) {
				found += " --" + f.flag + " " + quoted(f.value)
			}
		}
		for _, key := range a.bare.trust {
			if name != "list" && name != "scrub" && name != "resume" {
				found += " --trust " + key
			}
		}
		return found
	})
}

// wordy is what a shell takes for one word.
var wordy = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./~-]+$`)

// quoted writes a word as a shell takes it, whatever is in it.
func quoted(s string) string {
	if wordy.MatchString(s) {
		return s
	}
	if clean(s) == s {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return dollarQuoted(s)
}

// unknownSet says which sets there are.
func unknownSet(name, host string, sets []config.GoldenSet) error {
	names := make([]string, len(sets))
	for i, s := range sets {
		names[i] = s.Name
	}
	advice := "its sets: " + strings.Join(names, ", ") + "; write a golden as SET/GOLDEN"
	if len(names) == 0 {
		advice = "see golden.sets in its configuration"
	}
	return withCode(exitRefused, hint(fmt.Errorf("%w: %s has no set %q", engine.ErrUnknownSet, orElse(host, "this host"), name), advice))
}

// absolute makes paths absolute.
func absolute(paths []string) ([]string, error) {
	out := make([]string, len(paths))
	for i, p := range paths {
		var err error
		if out[i], err = filepath.Abs(p); err != nil {
			return nil, fmt.Errorf("make %s absolute: %w", p, err)
		}
	}
	return out, nil
}
