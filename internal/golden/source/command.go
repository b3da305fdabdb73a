package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/durable"
	"github.com/shivx/shivx/internal/golden/format"
)

// CommandOptions are hooks around a capture. A hook without arguments does nothing.
type CommandOptions struct {
	// Pre runs before the capture. If it fails, nothing is captured.
	Pre command.Spec
	// Post runs after the capture, also when Pre or the capture has failed or was cancelled; and in
	// Resume or before the next Pre, when the process was killed in between or Post failed. It must bear to
	// run twice.
	Post command.Spec
}

// Command runs commands around a capture, which reads the live files.
type Command struct {
	name string
	o    CommandOptions
}

var (
	_ Source  = (*Command)(nil)
	_ Resumer = (*Command)(nil)
)

// NewCommand makes the source.
func NewCommand(name string, o CommandOptions) (*Command, error) {
	if err := checkName(name, "/"); err != nil {
		return nil, err
	}
	if len(o.Pre.Argv) == 0 && len(o.Post.Argv) == 0 {
		return nil, shivx.Hint(fmt.Errorf("source %s: no command", name), "say in pre what runs before the capture")
	}
	return &Command{name: name, o: o}, nil
}

// Name is the configuration's.
func (c *Command) Name() string { return c.name }

// Made says that no export is of hooks: what they prepare is read in its own place.
func (*Command) Made(format.Source) bool { return false }

// Prepare runs Pre. Its folder is empty: as long as it is there, Post is due.
func (c *Command) Prepare(ctx context.Context, dir string) (*Export, error) {
	if _, err := c.Resume(ctx, dir); err != nil {
		return nil, err
	}
	f, err := newFolder(dir, c.prefix(), nil)
	if err != nil {
		return nil, err
	}
	e := &Export{closers: []func(context.Context) error{func(ctx context.Context) error { return c.post(ctx, f) }}}
	if err := hook(ctx, "pre", c.o.Pre); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}

// prefix begins the names of the folders. No name has a ~.
func (c *Command) prefix() string { return "hook-" + c.name + "~" }

// Resume runs Post if it is due since a process was killed, or since it failed.
func (c *Command) Resume(ctx context.Context, dir string) (bool, error) {
	due, err := left(dir, c.prefix())
	if err != nil || len(due) == 0 {
		return false, err
	}
	return true, c.post(ctx, due...)
}

// post runs Post, and forgets then that it was due.
func (c *Command) post(ctx context.Context, due ...*folder) error {
	failed := hook(ctx, "post", c.o.Post)
	errs := []error{failed}
	for _, f := range due {
		if failed != nil {
			_ = durable.Unlock(f.lock)
			continue
		}
		errs = append(errs, f.remove())
	}
	return errors.Join(errs...)
}

func hook(ctx context.Context, what string, s command.Spec) error {
	if len(s.Argv) == 0 {
		return nil
	}
	if _, err := command.Run(ctx, s); err != nil {
		hint := "run it by hand to see why it fails; timeout sets its time limit"
		if what == "post" {
			hint += "; it is run again by shivx golden resume, when the agent starts, and by the next backup"
		}
		return shivx.Hint(fmt.Errorf("%s hook: %w", what, err), hint)
	}
	return nil
}
