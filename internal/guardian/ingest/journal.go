package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

const (
	// maxEntry is the longest entry of the journal that is read, as JSON.
	maxEntry = 1 << 20
	// entriesPerBatch is how many entries are taken together when they are there already, and
	// entriesWaiting how many wait for that at most.
	entriesPerBatch = 512
	entriesWaiting  = 32
	// steadyAfter is how long journalctl must have run for its end to count as the first again.
	steadyAfter = 10 * time.Second
)

// unitEndings are those of the systemd units that have messages of their own.
var unitEndings = []string{".service", ".socket", ".scope", ".slice", ".mount", ".timer", ".target", ".path"}

// journal reads entries by journalctl, which is started again when it ends.
type journal struct {
	out     *outlet
	program string
	match   []string
	at      Position
	bare    bool
	poll    time.Duration
}

func newJournal(out *outlet, program string, at Position) (*journal, error) {
	match, err := matches(out.log.Journal)
	if err != nil {
		return nil, err
	}
	out.hold(at.Held)
	out.status.s.Path = "journal: " + strings.Join(out.log.Journal, ", ")
	return &journal{out: out, program: program, match: match, at: at, bare: !tagged(out.log.Format), poll: pollWatched}, nil
}

// tagged says whether the lines of a format name their program: "sshd[123]: …".
func tagged(format string) bool {
	return slices.Contains([]string{"sshd", "pam", "dovecot", "haproxy", "regexp"}, format)
}

// matches of the entries of any of the units and identifiers. journalctl takes options of several kinds
// as conditions that must all hold, so units and identifiers together are written as alternatives.
func matches(names []string) ([]string, error) {
	unit := func(n string) bool {
		return slices.ContainsFunc(unitEndings, func(e string) bool { return strings.HasSuffix(n, e) })
	}
	units := 0
	for _, n := range names {
		if unit(n) {
			units++
		}
	}
	var args []string
	for _, n := range names {
		switch {
		case units == len(names):
			args = append(args, "--unit="+n)
		case units == 0:
			args = append(args, "--identifier="+n)
		case unit(n) && strings.ContainsAny(n, "*?["):
			return nil, shivx.Hint(fmt.Errorf("the journal's unit %q is a pattern beside identifiers", n),
				"make one log for the units and one for the identifiers")
		case unit(n):
			args = append(args, "+", "_SYSTEMD_UNIT="+n)
		default:
			args = append(args, "+", "SYSLOG_IDENTIFIER="+n)
		}
	}
	if len(args) > 0 && args[0] == "+" {
		args = args[1:]
	}
	return args, nil
}

func (j *journal) run(ctx context.Context) {
	if j.at == (Position{}) {
		j.at.Opened = true
		if !j.out.log.FromStart {
			j.at.Since = j.out.o.Now().UnixMicro()
		}
		if !j.out.send(ctx, j.position(), 0) {
			return
		}
	}
	wait := firstRetry
	for ctx.Err() == nil {
		begun := time.Now()
		err := j.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		j.out.state(err, false)
		if time.Since(begun) > steadyAfter {
			wait = firstRetry
		}
		j.out.listen()
		if !sleep(ctx, wait) {
			return
		}
		wait = min(2*wait, lastRetry)
	}
}

// args of journalctl. Without --no-tail it would begin with the last ten entries.
func (j *journal) args() []string {
	args := []string{"--follow", "--no-tail", "--output=json", "--all", "--quiet", "--no-pager"}
	switch {
	case j.at.Cursor != "":
		args = append(args, "--after-cursor="+j.at.Cursor)
	case j.at.Since != 0:
		args = append(args, fmt.Sprintf("--since=@%d.%06d", j.at.Since/1e6, j.at.Since%1e6))
	}
	return append(args, j.match...)
}

// follow runs journalctl and takes its entries until it ends, which it does not by itself.
func (j *journal) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.program, j.args()...)
	cmd.WaitDelay = time.Second
	said := &firstBytes{limit: 500}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return shivx.Hint(fmt.Errorf("read the journal: %w", err), "install systemd's journalctl, or name a file")
	}
	entries := make(chan []byte, entriesWaiting)
	read := make(chan error, 1)
	go func() { read <- split(ctx, out, entries) }()
	takeErr := j.take(ctx, entries)
	cancel()
	// Wait closes the pipe, which nobody needs any more when take has returned.
	waitErr := cmd.Wait()
	readErr := <-read
	if text := strings.TrimSpace(string(said.b)); text != "" {
		waitErr = errors.New(text)
	}
	return shivx.Hint(fmt.Errorf("journalctl ended: %w", firstOf(waitErr, takeErr, readErr)),
		"it is started again; let the agent's account read the journal, by the group systemd-journal")
}

// split gives the lines of r to entries, nil for one that is too long, and closes entries at the end.
func split(ctx context.Context, r io.Reader, entries chan<- []byte) error {
	defer close(entries)
	in := bufio.NewReaderSize(r, maxEntry)
	for {
		line, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil {
			return err
		}
		var entry []byte
		if !long {
			entry = bytes.Clone(line)
		}
		select {
		case entries <- entry:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// position after all that was read.
func (j *journal) position() Position {
	at := j.at
	at.Held = j.out.held()
	return at
}

// take delivers entries, those together that are there together. journalctl may need a while for the first
// one, so what the parser holds from before is not settled at once.
func (j *journal) take(ctx context.Context, entries <-chan []byte) error {
	tick := time.NewTicker(j.poll)
	defer tick.Stop()
	settle := time.NewTimer(steadyAfter)
	defer settle.Stop()
	for {
		lines := 0
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			j.out.state(nil, false)
			j.out.listen()
			continue
		case <-settle.C:
			if j.out.settle(); len(j.out.events) == 0 {
				continue
			}
		case e, ok := <-entries:
			if !ok {
				return nil
			}
			for ; ok; e, ok = j.more(entries, lines) {
				j.entry(e)
				lines++
			}
		}
		if !j.out.send(ctx, j.position(), lines) {
			return ctx.Err()
		}
		settle.Reset(settleAfter) // not before: what comes while the batch is handled must be seen first
		j.out.listen()
	}
}

// more is the next entry if there is one now and the batch has room.
func (j *journal) more(entries <-chan []byte, lines int) ([]byte, bool) {
	if lines >= entriesPerBatch || j.out.full() {
		return nil, false
	}
	select {
	case e, ok := <-entries:
		return e, ok
	default:
		return nil, false
	}
}

// entry gives one entry to the parser and moves the position behind it.
func (j *journal) entry(data []byte) {
	e, err := decodeEntry(data)
	if err != nil {
		j.out.cut++
	}
	if e.Cursor != "" {
		j.at = Position{Opened: true, Cursor: e.Cursor}
	}
	if err != nil || e.Message == nil {
		return
	}
	had := len(j.out.events)
	j.out.line(j.out.parser, e.line(j.bare))
	if micros, err := strconv.ParseInt(e.Time, 10, 64); err == nil {
		j.out.stamp(had, time.UnixMicro(micros))
	}
}

// firstOf returns the first error of several; none at all is an end without a reason.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return io.EOF
}

// firstBytes keeps the beginning of what is written to it.
type firstBytes struct {
	b     []byte
	limit int
}

func (f *firstBytes) Write(p []byte) (int, error) {
	f.b = append(f.b, p[:min(len(p), f.limit-len(f.b))]...)
	return len(p), nil
}
