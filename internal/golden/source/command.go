package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
)

// CommandOptions are hooks around a capture. A hook without arguments does nothing.
type CommandOptions struct {
	// Pre runs before the capture. If it fails, nothing is captured.
	Pre command.Spec
	// Post runs after the capture, also when Pre or the capture has failed or was cancelled; and
	// before the next Pre, when the process was killed in between. It must bear to run twice.
	Post command.Spec
}

// Command runs commands around a capture, which reads the live files.
type Command struct {
	name string
	o    CommandOptions
}

var _ Source = (*Command)(nil)

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

// Prepare runs Pre. Its folder is empty: it tells a later process that Post is due. No name has a ~.
func (c *Command) Prepare(ctx context.Context, dir string) (*Export, error) {
	f, err := newFolder(dir, "hook-"+c.name+"~", nil)
	if err != nil {
		return nil, err
	}
	e := &Export{closers: []func(context.Context) error{f.close, c.post}}
	if f.killed {
		err = c.post(ctx)
	}
	if err == nil {
		err = hook(ctx, "pre", c.o.Pre)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}

func (c *Command) post(ctx context.Context) error { return hook(ctx, "post", c.o.Post) }

func hook(ctx context.Context, what string, s command.Spec) error {
	if len(s.Argv) == 0 {
		return nil
	}
	if _, err := command.Run(ctx, s); err != nil {
		return shivx.Hint(fmt.Errorf("%s hook: %w", what, err), "run it by hand to see why it fails; timeout sets its time limit")
	}
	return nil
}
