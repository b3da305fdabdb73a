package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

// suite stops the shared server after all tests.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code := s.M.Run()
	stopServer()
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"shivx": main, "stranger": stranger})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			silent, err := silentAddress()
			if err != nil {
				return err
			}
			env.Defer(func() { _ = silent.Close() })
			env.Setenv("USER", "ana")
			env.Setenv("SILENT", silent.Addr().String())
			// Nobody listens there.
			env.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"mkledger": mkledger,
			"replace":  replace,
			"append":   appendTo,
			"code":     code,
			"agent":    serveAgent,
			"faults":   serveFaults,
		},
	})
}

// silentAddress listens and never answers.
func silentAddress() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// code runs a command and compares its exit code: code N shivx …
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// mkledger writes a ledger: mkledger PATH RECORDS
func mkledger(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkledger path records")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(writeLedger(ts.MkAbs(args[0]), n))
}

// writeLedger writes n records, one a minute from 2026-01-02 03:00:00 UTC on.
func writeLedger(path string, n int) error {
	l, err := ledger.Open(path, ledger.Options{})
	if err != nil {
		return err
	}
	for i := range n {
		success := i%2 == 0
		r := shivx.RecoveryRecord{
			EventID: fmt.Sprintf("event-%d", i), EventType: shivx.EventFault, Component: "redis", Host: "db1",
			Timestamp: time.Date(2026, 1, 2, 3, i, 0, 0, time.UTC), Severity: shivx.SeverityError,
			Message: fmt.Sprintf("finding number %d", i),
		}
		if i%3 == 2 {
			r.EventType, r.Component, r.Outcome, r.Strategy = shivx.EventRecovery, "nginx", shivx.OutcomeHealed, "restart"
			r.Success, r.DurationMS, r.Run = &success, 1500, fmt.Sprintf("self-heal/nginx@db1 run-%d", i)
			r.Message = "evil \x1b[31mred\x1b[0m \u202e title"
		}
		if _, err := l.Append(context.Background(), r.EventID, r); err != nil {
			return err
		}
	}
	return l.Close()
}

// replace replaces text in a file once: replace FILE OLD NEW
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace file old new")
	}
	path := ts.MkAbs(args[0])
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// appendTo appends text to a file: append FILE TEXT
func appendTo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: append file text")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile(args[0])+args[1]), 0o600))
}

// result is what one call of the command line printed.
type result struct {
	code     int
	out, err string
}

// shivxRun runs a command line in this process.
func shivxRun(args ...string) result {
	var out, errs bytes.Buffer
	code := run(args, strings.NewReader(""), &out, &errs)
	return result{code, out.String(), errs.String()}
}

func TestFollowLedgerAcrossNewRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "operational_ledger.ndjson")
	l, err := ledger.Open(path, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	add := func(message string) {
		t.Helper()
		_, err := l.Append(t.Context(), "", shivx.RecoveryRecord{EventType: shivx.EventFault, Message: message})
		if err != nil {
			t.Fatal(err)
		}
	}
	add("first")
	out := newLines()
	ctx, stop := context.WithCancel(t.Context())
	a := &app{out: screen{w: out, fd: -1}, err: screen{w: out, fd: -1}, output: "table"}
	ended := make(chan error, 1)
	go func() { ended <- a.tail(ctx, path, 10, true) }()
	out.await(t, "first")
	add("second")
	out.await(t, "second")
	stop()
	if err := <-ended; err != nil {
		t.Errorf("tail -f ended by Ctrl-C: %v", err)
	}
}
