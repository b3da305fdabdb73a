// Package ingest reads logs as they are written: files over their rotations, the journal of systemd,
// and syslog over the network. It gives the events of their lines to the guardian in batches, each with
// the position after it.
//
// Whoever takes the batches saves a position together with what it made of the events before it. Then
// nothing is read twice or lost, whenever the process ends: a file is known by its device and inode and
// by what stands at its beginning and just before the position, so a rotated file is found under its
// new name, and one that was copied and truncated in its copy. What a parser holds back of the lines
// before, as it may have been forged, is part of the position (settle.go).
//
// A line that is longer than 64 KiB, or whose end was never written, is left out and counted: parsers
// rely on how a line ends, and where it is broken off whoever sent it would choose that end. Of too long
// ones of access logs the beginning is read, which tells who it was.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// Options of New.
type Options struct {
	// Logs to read; each has exactly one of File and Journal.
	Logs   []config.Log
	Syslog config.SyslogInput
	// Handle takes the next batch of a log. After an error it is given the same batch again. It is
	// called by one goroutine for each log, so for several logs at a time.
	Handle func(context.Context, Batch) error
	// Positions is where reading goes on, by log; a log that has none is new.
	Positions map[string]Position
	Logger    *slog.Logger
	// Trouble tells of what people should know; kind is one of the constants Trouble….
	Trouble func(log, kind string, details map[string]any)
	// Now tells the time; nil: time.Now.
	Now func() time.Time
	// Trusted are the proxies whose word about the client's address is believed.
	Trusted []netip.Prefix
	// NewParser makes the parser of a log; nil: the one that its format names.
	NewParser func(config.Log) (logs.Parser, error)
	// Journalctl is the program that reads the journal; "": journalctl.
	Journalctl string
}

// The kinds of trouble.
const (
	// TroubleSilent: nothing was read for as long as the log's quiet_after; TroubleSpeaks ends it.
	TroubleSilent = "silent"
	TroubleSpeaks = "speaks"
	// TroubleLost: lines are gone that were never read; "bytes" says how many bytes when it is known.
	TroubleLost = "lost"
	// TroubleUnreadable: the log cannot be read; TroubleReadable ends it.
	TroubleUnreadable = "unreadable"
	TroubleReadable   = "readable"
)

// Batch is what some lines of a log say, and what was held back of lines before them. The events, and the
// bytes they point to, hold until Handle returns.
type Batch struct {
	// Log is the log's name; "syslog:FORMAT" for lines from the network.
	Log    string
	Events []logs.Event
	// Position is the one after the lines; it may change without lines. It is zero for lines from the
	// network, which cannot be asked for again.
	Position Position
	// Lines read for this batch, also those without an event.
	Lines int
}

// source is one input; it works until ctx ends and tells of its troubles by itself.
type source interface{ run(ctx context.Context) }

// Inputs are all the logs that are read.
type Inputs struct {
	o       Options
	outlets []*outlet
	sources []source
	watch   *watcher
}

// New prepares the inputs. It opens none: what is not there yet is waited for.
func New(o Options) (*Inputs, error) {
	o.fill()
	i := &Inputs{o: o}
	w, err := newWatcher()
	if err != nil {
		o.Logger.Warn("the kernel does not tell of changed files; the logs are looked at four times a second",
			"error", err, "hint", "raise fs.inotify.max_user_instances")
	}
	i.watch = w
	for _, l := range o.Logs {
		if err := i.add(l); err != nil {
			return nil, errors.Join(fmt.Errorf("log %q: %w", l.Name, err), w.close())
		}
	}
	if err := i.addSyslog(); err != nil {
		return nil, errors.Join(fmt.Errorf("syslog: %w", err), w.close())
	}
	return i, nil
}

func (o *Options) fill() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Trouble == nil {
		o.Trouble = func(string, string, map[string]any) {}
	}
	if o.NewParser == nil {
		o.NewParser = func(l config.Log) (logs.Parser, error) { return newParser(l, o.Trusted) }
	}
	if o.Journalctl == "" {
		o.Journalctl = "journalctl"
	}
}

func (i *Inputs) add(l config.Log) error {
	p, err := i.o.NewParser(l)
	if err != nil {
		return err
	}
	out := newOutlet(&i.o, l, p)
	at := i.o.Positions[l.Name]
	if l.File != "" {
		i.sources = append(i.sources, newFollower(out, i.watch, at))
	} else {
		j, err := newJournal(out, i.o.Journalctl, at)
		if err != nil {
			return err
		}
		i.sources = append(i.sources, j)
	}
	i.outlets = append(i.outlets, out)
	return nil
}

func (i *Inputs) addSyslog() error {
	if i.o.Syslog.Listen == "" || i.o.Syslog.Listen == "off" {
		return nil
	}
	s, err := newSyslog(&i.o)
	if err != nil {
		return err
	}
	i.sources = append(i.sources, s)
	for _, f := range s.formats {
		i.outlets = append(i.outlets, f.out)
	}
	return nil
}

// Run reads until ctx ends, and returns when all reading has ended. It is called once.
func (i *Inputs) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for _, s := range i.sources {
		all.Go(func() { s.run(ctx) })
	}
	stopped := make(chan error, 1)
	go func() { stopped <- i.watch.run() }()
	<-ctx.Done()
	all.Wait()
	err := i.watch.close()
	if readErr := <-stopped; readErr != nil && !errors.Is(readErr, os.ErrClosed) {
		i.o.Logger.Warn("the kernel stopped telling of changed files", "error", readErr)
	}
	return err
}

// Status of every log, in the order of the configuration, those from the network last.
func (i *Inputs) Status() []LogStatus {
	all := make([]LogStatus, len(i.outlets))
	for n, o := range i.outlets {
		all[n] = o.status.get()
	}
	return all
}

// failure is how an error stands in a status.
func failure(err error) string {
	if hint := shivx.HintOf(err); hint != "" {
		return err.Error() + ": " + hint
	}
	return err.Error()
}
