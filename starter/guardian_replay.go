package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// replayFlags are the flags of shivx guardian replay.
type replayFlags struct {
	log  config.Log
	year int
	zone string
}

func (a *app) guardianReplayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use: "replay --format FORMAT FILE", Short: "Run the detectors over a log, in event time",
		Long: `Reads a log (gzip too, "-" for standard input) and prints one JSON line for each recognised failure and for
each decision, as they would have been made at the time in the mode NORMAL: to tune thresholds before they
hold, and to judge the detectors. Nothing is isolated. The rules are those of the configuration, if there
is one. The same log gives the same lines. A summary goes to standard error.

Each line has the number of the line of the log that says it. A line that might be forged (nginx-error)
is judged a few lines later, so that it can stand after a later one.`,
		Example: `  shivx guardian replay --format sshd /var/log/auth.log
  shivx guardian replay --format nginx-access access.log.1.gz | jq -c 'select(.type=="decision")'
  journalctl -u ssh -o short-iso | shivx guardian replay --format sshd -`,
		Args: cobra.ExactArgs(1),
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		return a.replay(cmd.Context(), args[0], cmd.InOrStdin(), f)
	})
	flags := c.Flags()
	flags.StringVar(&f.log.Format, "format", "", "format of the lines: "+strings.Join(logs.Formats(), ", "))
	flags.StringVar(&f.log.Mode, "mode", "normal", "normal, or aggressive: connections given up before a login count, too")
	flags.StringVar(&f.log.Pattern, "pattern", "", "regular expression for the format regexp, with the group (?P<host>…)")
	flags.StringVar(&f.log.Kind, "kind", "failure", "what a line means that matches the pattern: request, failure, success, probe or denied")
	flags.StringVar(&f.log.TimeLayout, "time-layout", time.RFC3339, "layout of the pattern's group time, as in Go's package time")
	flags.IntVar(&f.year, "year", 0, "year of times without one; default: such that they are before the file's own time")
	flags.StringVar(&f.zone, "zone", "UTC", "time zone of times without one, such as Europe/Berlin or Local")
	_ = c.MarkFlagRequired("format")
	for name, values := range map[string][]string{
		"format": logs.Formats(), "mode": {"normal", "aggressive"}, "kind": {"request", "failure", "success", "probe", "denied"}, "zone": {"UTC", "Local"},
	} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return c
}

// options are those of the flags, for a log that was written last at a time.
func (f replayFlags) options(written time.Time) (guardian.ReplayOptions, error) {
	o := guardian.ReplayOptions{Log: f.log, Now: written}
	var err error
	if o.Zone, err = time.LoadLocation(f.zone); err != nil {
		return o, hint(usagef("--zone %s is not known", f.zone), "write UTC, Local or a name such as Europe/Berlin")
	}
	switch {
	case f.year < 0 || f.year > 9999:
		return o, usagef("--year %d is no year", f.year)
	case f.year != 0:
		o.Now = time.Date(f.year, 12, 31, 12, 0, 0, 0, o.Zone)
	}
	if f.log.Format != "regexp" && f.log.Pattern != "" {
		return o, hint(usagef("--pattern is for the format regexp alone"), "add --format regexp")
	}
	return o, nil
}

func (a *app) replay(ctx context.Context, path string, stdin io.Reader, f replayFlags) (err error) {
	if _, err := f.options(time.Time{}); err != nil {
		return err
	}
	rules, from := config.Default().Guardian, "by the default rules"
	cfg, err := a.agentConfig()
	if err != nil {
		return err
	}
	if cfg != nil {
		rules, from = cfg.Guardian, "by the rules of "+orElse(a.configPath(), systemConfig)
	}
	log, err := openLog(ctx, path, stdin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	o, err := f.options(log.written)
	if err != nil {
		return err
	}
	o.Rules = rules
	shown := newProgress(&a.err, log.howFar)
	out := bufio.NewWriterSize(shown.beside(a.out.w), 1<<18)
	summary, err := guardian.Replay(flushing{log, out}, cleaned{out}, o)
	if flushed := out.Flush(); err == nil { // else it may say the same again
		err = flushed
	}
	shown.end()
	return a.replayed(summary, from, err)
}

// replayed tells what came of a replay.
func (a *app) replayed(s guardian.ReplaySummary, from string, err error) error {
	_, refused := errors.AsType[guardian.ReplayRefusedError](err)
	switch {
	case refused:
		return withCode(exitUsage, err)
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return nil // whoever reads has seen enough
	case errors.Is(err, errInterrupted):
		return fmt.Errorf("replay: %w after %s", errInterrupted, count(s.Lines, "line"))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum):
		return hint(err, "the packed file is cut off or damaged")
	case err != nil:
		return err
	}
	if a.json() {
		return a.documentTo(&a.err, s)
	}
	a.err.printf("%s, %s, %s, %s %s: %s isolated, %d warned", count(s.Lines, "line"), count(s.Events, "event"),
		count(s.Failures, "failure"), count(s.Decisions, "decision"), from, count(s.Isolated, "source"), s.Warned)
	if s.Cut > 0 {
		a.err.line(yellow, count(s.Cut, "line")+" of more than 64 KiB cut off")
	}
	if s.Events == 0 && s.Lines > 0 {
		a.err.line(yellow, "no line was recognised: is the format right?")
	}
	return nil
}

// flushing writes out what was found before it waits for more of the log, which may come from a pipe.
type flushing struct {
	io.Reader
	out *bufio.Writer
}

func (f flushing) Read(b []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(b)
}

// cleaned escapes what would drive a terminal in JSON lines: names and paths are chosen by attackers.
type cleaned struct{ w *bufio.Writer }

func (c cleaned) Write(line []byte) (int, error) {
	if end := len(line) - 1; end >= 0 && line[end] == '\n' && plain(string(line[:end])) {
		return c.w.Write(line)
	}
	if _, err := c.w.WriteString(escapeJSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
