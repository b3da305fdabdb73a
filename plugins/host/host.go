// Package host runs recovery plugins, those built in and those that are programs of their own,
// behind one interface.
//
// An external plugin is started over hashicorp/go-plugin (gRPC, AutoMTLS) on first use, after
// its SHA-256 was compared with the pinned one. A process does one step at a time, so that a step
// that hangs or crashes takes no other step with it; one idle process is kept for the next step.
// Whatever a plugin does wrong becomes a *sdk.Fail. What it says is cleaned and cut to size,
// what it logs is limited, and its whole process group ends with it.
package host

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// Runner does the steps of one plugin, in this process or in another.
type Runner interface {
	// Describe says what the plugin is.
	Describe() sdk.Description
	// Run does one step. Its errors are, or wrap, a *sdk.Fail.
	Run(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Reply, error)
}

// Spec names an external plugin.
type Spec struct {
	Name string
	// Path of the executable.
	Path string
	Args []string
	// SHA256 of the executable in hexadecimal; one that differs is not started.
	SHA256 string
}

// Specs are the external plugins of a configuration.
func Specs(cfg *config.Config) []Spec {
	var out []Spec
	for _, p := range cfg.Plugins {
		out = append(out, Spec{Name: p.Name, Path: p.Path, Args: p.Args, SHA256: p.SHA256})
	}
	return out
}

// Info is one plugin as shown to people.
type Info struct {
	// Name under which the configuration knows the plugin.
	Name string
	// Path of an external plugin's executable; "" for a built-in one.
	Path        string
	Description sdk.Description
	// Err says why an external plugin cannot be used.
	Err error
}

// Set holds all plugins of one agent.
type Set struct {
	builtin  map[string]Runner
	external map[string]*external
	// twice are names given to more than one plugin; none of them is used.
	twice map[string]bool
}

// New makes a set of the built-in plugins and of external ones, which are started on first use.
func New(builtin map[string]sdk.Plugin, specs []Spec, log *slog.Logger) *Set {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Set{builtin: map[string]Runner{}, external: map[string]*external{}, twice: map[string]bool{}}
	for name, p := range builtin {
		s.builtin[name] = &inProcess{plugin: p, log: log.With("plugin", name)}
	}
	for _, spec := range specs {
		if s.builtin[spec.Name] != nil || s.external[spec.Name] != nil {
			s.twice[spec.Name] = true
			continue
		}
		s.external[spec.Name] = newExternal(spec, log.With("plugin", spec.Name))
	}
	return s
}

// Get returns the plugin of that name; an external one is started to see whether it works.
func (s *Set) Get(ctx context.Context, name string) (Runner, error) {
	if s.twice[name] {
		return nil, &sdk.Fail{
			Message: fmt.Sprintf("two plugins have the name %q", name),
			Hint:    "give the external plugin another name in the configuration",
		}
	}
	if r := s.builtin[name]; r != nil {
		return r, nil
	}
	x := s.external[name]
	if x == nil {
		return nil, s.unknown(name)
	}
	if err := x.prepare(ctx); err != nil {
		return nil, err
	}
	return x, nil
}

func (s *Set) names() []string {
	return slices.Concat(slices.Sorted(maps.Keys(s.builtin)), slices.Sorted(maps.Keys(s.external)))
}

func (s *Set) unknown(name string) error {
	hint := "known plugins: " + strings.Join(s.names(), ", ")
	if near := sdk.Nearest(name, s.names()); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return &sdk.Fail{Message: fmt.Sprintf("there is no plugin %q", name), Hint: hint}
}

// Describe describes every plugin, built-in ones first. A plugin that cannot be used has an Err
// of its own; the error returned says that ctx ended before all were asked.
func (s *Set) Describe(ctx context.Context) ([]Info, error) {
	infos := make([]Info, len(s.names()))
	var asked sync.WaitGroup
	for i, name := range s.names() {
		infos[i].Name = name
		if x := s.external[name]; x != nil {
			infos[i].Path = x.spec.Path
		}
		asked.Go(func() {
			r, err := s.Get(ctx, name)
			if err != nil {
				infos[i].Err = err
				return
			}
			infos[i].Description = r.Describe()
		})
	}
	asked.Wait()
	return infos, ctx.Err()
}

// Close ends all plugin processes and waits until they are gone. Steps under way are cancelled.
func (s *Set) Close() {
	var closed sync.WaitGroup
	for _, x := range s.external {
		closed.Go(x.close)
	}
	closed.Wait()
}
