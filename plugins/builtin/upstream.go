package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/durable"
	"github.com/shivx/shivx/plugins/sdk"
)

// upstreamOptions rewrite an address in a configuration file, such as nginx' upstream block.
type upstreamOptions struct {
	File string `json:"file"`
	// From and To are addresses or names; they are replaced as whole words only.
	From string `json:"from"`
	To   string `json:"to"`
	// Test checks the new configuration, e.g. [nginx, -t]; when it fails the old one is put back.
	Test []string `json:"test"`
	// Reload makes the service read it, e.g. [nginx, -s, reload].
	Reload []string `json:"reload"`
}

func (o upstreamOptions) check() error {
	if !filepath.IsAbs(o.File) {
		return sdk.BadOption("upstream.file", "write an absolute path", "%q is not absolute", o.File)
	}
	for name, v := range map[string]string{"upstream.from": o.From, "upstream.to": o.To} {
		if v == "" || strings.ContainsAny(v, " \t\r\n") {
			return sdk.BadOption(name, "for example 127.0.0.1:8081", "%q is not one word", v)
		}
	}
	if o.From == o.To {
		return sdk.BadOption("upstream.to", "", "is the same as from")
	}
	if len(o.Reload) == 0 {
		return sdk.BadOption("upstream.reload", "for example [nginx, -s, reload]", "is missing: nobody would read the new file")
	}
	if err := checkArgv("upstream.test", o.Test); err != nil {
		return err
	}
	return checkArgv("upstream.reload", o.Reload)
}

func (o upstreamOptions) reversed() upstreamOptions {
	o.From, o.To = o.To, o.From
	return o
}

// replaceWord replaces from where nothing that could belong to an address or name touches it.
func replaceWord(text []byte, from, to string) (result []byte, count int) {
	for {
		i := bytes.Index(text, []byte(from))
		if i < 0 {
			return append(result, text...), count
		}
		end := i + len(from)
		whole := (i == 0 || !addressByte(text[i-1])) && (end == len(text) || !addressByte(text[end]))
		if i > 0 && text[i-1] == ':' {
			whole = false
		}
		result = append(result, text[:i]...)
		if whole {
			result = append(result, to...)
			count++
		} else {
			result = append(result, from...)
		}
		text = text[end:]
	}
}

func addressByte(b byte) bool {
	return b == '.' || b == '-' || b == '_' || b == ':' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// apply rewrites the file and has it tested and read. When either fails the old content is put
// back. A file that has been rewritten already is tested and read again, as a crash may have
// come in between. The old content is kept in the file backup, when that is set.
func (o upstreamOptions) apply(ctx context.Context, backup string) ([]string, error) {
	path, old, fresh, err := o.rewrite()
	if err != nil {
		return nil, err
	}
	var changes []string
	if !bytes.Equal(old, fresh) {
		if err := keepOld(backup, old); err != nil {
			return nil, err
		}
		if err := replaceFile(path, fresh); err != nil {
			return nil, err
		}
		changes = append(changes, fmt.Sprintf("%s: %s became %s", path, o.From, o.To))
	}
	if err := o.activate(ctx); err != nil {
		if len(changes) == 0 {
			return nil, err
		}
		return nil, errors.Join(err, o.revert(ctx, path, old))
	}
	return append(changes, "reloaded by "+command.Line(o.Reload)), nil
}

// rewrite returns the file's real path, content and new content.
func (o upstreamOptions) rewrite() (path string, old, fresh []byte, err error) {
	if path, err = filepath.EvalSymlinks(o.File); err == nil {
		old, err = os.ReadFile(path)
	}
	if err != nil {
		return path, nil, nil, failed(fmt.Errorf("upstream: %w", err), "check the option upstream.file")
	}
	fresh, n := replaceWord(old, o.From, o.To)
	if _, has := replaceWord(old, o.To, o.To); n == 0 && has == 0 {
		return path, nil, nil, sdk.Failf("has the file been edited? correct upstream.from and upstream.to",
			"%s has neither %s nor %s in it", path, o.From, o.To)
	}
	return path, old, fresh, nil
}

// activate tests the configuration and has it read.
func (o upstreamOptions) activate(ctx context.Context) error {
	if len(o.Test) > 0 {
		if _, err := command.Run(ctx, command.Spec{Argv: o.Test}); err != nil {
			return sdk.Failf("the old content was put back", "the rewritten configuration is refused: %v", err)
		}
	}
	if _, err := command.Run(ctx, command.Spec{Argv: o.Reload}); err != nil {
		return sdk.Failf("is the service running?", "reload: %v", err)
	}
	return nil
}

// revert puts the old content back and has it read, also when ctx is over.
func (o upstreamOptions) revert(ctx context.Context, path string, old []byte) error {
	if err := replaceFile(path, old); err != nil {
		return fmt.Errorf("put the old content back: %w", err)
	}
	if _, err := command.Run(context.WithoutCancel(ctx), command.Spec{Argv: o.Reload}); err != nil {
		return fmt.Errorf("the old content of %s was put back, but: %w", path, err)
	}
	return nil
}

// undo puts back the content kept by apply, or reverses the replacement where others have
// edited the file since.
func (o upstreamOptions) undo(ctx context.Context, backup string) ([]string, error) {
	kept, err := os.ReadFile(backup)
	if err != nil {
		return o.reversed().apply(ctx, "")
	}
	path, err := filepath.EvalSymlinks(o.File)
	if err != nil {
		return nil, failed(fmt.Errorf("upstream: %w", err), "check the option upstream.file")
	}
	now, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	written, _ := replaceWord(kept, o.From, o.To)
	switch {
	case bytes.Equal(now, kept):
	case bytes.Equal(now, written):
		if err := replaceFile(path, kept); err != nil {
			return nil, err
		}
	default:
		changes, err := o.reversed().apply(ctx, "")
		return changes, errors.Join(err, removeIfThere(backup))
	}
	if err := o.activate(ctx); err != nil {
		return nil, err
	}
	return []string{"put back the old content of " + path}, removeIfThere(backup)
}

// keepOld keeps the content from before a change, unless path is "".
func keepOld(path string, data []byte) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the old content: %w", err)
	}
	if err := renameio.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("keep the old content: %w", err)
	}
	return durable.SyncDir(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// replaceFile swaps the content of a file in one step, with its owner and mode, or 0644 for a
// new one. The temporary file's name begins with a dot, so that no "include *" finds it.
func replaceFile(path string, data []byte) error {
	opts := []renameio.Option{renameio.WithPermissions(0o644), renameio.WithTempDir(filepath.Dir(path))}
	info, err := os.Lstat(path)
	if err == nil {
		opts[0] = renameio.WithStaticPermissions(info.Mode().Perm())
	}
	f, err := renameio.NewPendingFile(path, opts...)
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	defer func() { _ = f.Cleanup() }()
	if info != nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return fmt.Errorf("replace %s: %w", path, err)
			}
		}
	}
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return durable.SyncDir(filepath.Dir(path))
}
