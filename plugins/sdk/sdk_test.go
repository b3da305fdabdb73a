package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type opts struct {
	Embedded
	Name  string            `json:"name"`
	Pool  *pool             `json:"pool"`
	Pools []pool            `json:"pools"`
	Any   map[string]any    `json:"any"`
	By    map[string]pool   `json:"by"`
	Wait  Duration          `json:"wait"`
	Raw   json.RawMessage   `json:"raw"`
	Tags  map[string]string `json:"tags"`
	Plain int
	Gone  int `json:"-"`
}

// Embedded has an option of its own.
type Embedded struct {
	Deep bool `json:"deep"`
}

type pool struct {
	Size int `json:"size"`
}

func TestDecodeTakesWhatTheFieldsSay(t *testing.T) {
	var o opts
	require.NoError(t, Request{Options: []byte(`{"deep":true,"name":"n","pool":{"size":1},"pools":[{"size":2}],"any":{"x":{"y":1}},
		"by":{"k":{"size":3}},"wait":"90s","raw":{"free":1},"tags":{"a":"b"},"Plain":4}`)}.Decode(&o))
	require.True(t, o.Deep)
	require.Equal(t, 3, o.By["k"].Size)
	require.Equal(t, 90*time.Second, time.Duration(o.Wait))
	require.Equal(t, 4, o.Plain)
	for _, empty := range []string{"", " ", "null", "{}"} {
		require.NoError(t, Decode([]byte(empty), &opts{}))
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ options, option, message, hint string }{
		"unknown":        {`{"nmae":"x"}`, "nmae", `unknown option "nmae"`, `did you mean "name"?`},
		"case":           {`{"Name":"x"}`, "Name", `unknown option "Name"`, `did you mean "name"?`},
		"nested":         {`{"pool":{"sise":1}}`, "pool.sise", `unknown option "pool.sise"`, `did you mean "size"?`},
		"in a list":      {`{"pools":[{"size":1},{"max":1}]}`, "pools[1].max", "unknown option", "valid options: size"},
		"in a map":       {`{"by":{"k":{"max":1}}}`, "by.k.max", "unknown option", "valid options: size"},
		"hidden field":   {`{"Gone":1}`, "Gone", "unknown option", "valid options: "},
		"type":           {`{"name":1}`, "name", `option "name": wants text, got number`, ""},
		"nested type":    {`{"pool":{"size":"big"}}`, "pool.size", "wants a whole number, got string", ""},
		"fraction":       {`{"pool":{"size":1.5}}`, "pool.size", "wants a whole number", ""},
		"no unit":        {`{"wait":90}`, "", "write it with a unit", ""},
		"bad duration":   {`{"wait":"soon"}`, "", `"soon" is not a duration`, ""},
		"not JSON":       {`{`, "", "not JSON", ""},
		"two values":     {`{} {}`, "", "more than one value", ""},
		"not an object":  {`[1]`, "", "not a JSON object", ""},
		"object is text": {`"x"`, "", "not a JSON object", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := Decode([]byte(tc.options), &opts{})
			require.ErrorContains(t, err, tc.message)
			var fail *Fail
			require.ErrorAs(t, err, &fail)
			require.Contains(t, fail.Hint, tc.hint)
			var at interface{ Option() string }
			if tc.option != "" {
				require.ErrorAs(t, err, &at)
				require.Equal(t, tc.option, at.Option())
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"x","pool":{"size":1},"pools":[{}],"wait":"1s"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict opts
		if Decode(data, &strict) != nil || len(bytes.TrimSpace(data)) == 0 {
			return
		}
		var lax opts
		require.NoError(t, json.Unmarshal(data, &lax), "what is strict is valid")
		require.Equal(t, lax, strict)
	})
}

func TestNearest(t *testing.T) {
	words := []string{"recover", "reintegrate", "dir", "undo"}
	for word, want := range map[string]string{
		"recvoer": "recover", "recove": "recover", "re-integrate": "reintegrate", "dri": "dir", "unod": "undo", "xyz": "", "": "",
	} {
		require.Equal(t, want, Nearest(word, words), word)
	}
}

// plain has no abilities but the one it must have.
type plain struct {
	recover func(context.Context, Request) (Result, error)
}

func (plain) Describe() Description { return Description{Name: "plain", Steps: []Step{"made up"}} }
func (p plain) Recover(ctx context.Context, r Request) (Result, error) {
	return p.recover(ctx, r)
}

// able has them all.
type able struct{ plain }

func (able) Isolate(context.Context, Request) (Result, error) {
	return Result{Summary: "isolate"}, nil
}
func (able) Reintegrate(context.Context, Request) (Result, error) {
	return Result{Summary: "reintegrate"}, nil
}
func (able) Checkpoint(context.Context, Request) (Result, error) {
	return Result{Summary: "checkpoint"}, nil
}
func (able) Validate(context.Context, Request) (Result, error) {
	return Result{Summary: "validate"}, nil
}
func (able) Undo(context.Context, Request) (Result, error)  { return Result{Summary: "undo"}, nil }
func (able) Stop(context.Context, Request) (Result, error)  { return Result{Summary: "stop"}, nil }
func (able) Start(context.Context, Request) (Result, error) { return Result{Summary: "start"}, nil }
func (able) Mark(_ context.Context, s Step, r Request) (string, error) {
	if r.Key == "long" {
		return strings.Repeat("m", MaxMark+1), nil
	}
	if r.Key == "binary" {
		return "\xff", nil
	}
	return "mark of " + string(s), nil
}
func (able) Done(_ context.Context, s Step, _ Request) (bool, error) { return s == StepIsolate, nil }
func (able) CheckOptions(json.RawMessage) error                      { return errors.New("no good") }

func TestAbilitiesComeFromTheInterfaces(t *testing.T) {
	require.Equal(t, []Step{StepRecover}, Describe(plain{}).Steps)
	require.Equal(t, []Step{StepIsolate, StepCheckpoint, StepRecover, StepValidate, StepReintegrate, StepUndo, StepStop, StepStart, StepMark, StepDone, StepCheck},
		Abilities(able{}))
}

func TestDispatch(t *testing.T) {
	p := able{plain{func(context.Context, Request) (Result, error) { return Result{Summary: "recover"}, nil }}}
	for _, step := range []Step{StepIsolate, StepCheckpoint, StepRecover, StepValidate, StepReintegrate, StepUndo, StepStop, StepStart} {
		reply, err := Dispatch(t.Context(), p, step, Request{})
		require.NoError(t, err)
		require.Equal(t, string(step), reply.Summary)
	}
	reply, err := Dispatch(t.Context(), p, StepMark, Request{})
	require.NoError(t, err)
	require.Equal(t, "mark of recover", reply.Mark)
	reply, err = Dispatch(t.Context(), p, StepDone, Request{Of: StepIsolate})
	require.NoError(t, err)
	require.True(t, reply.Done)
	_, err = Dispatch(t.Context(), p, StepCheck, Request{})
	require.ErrorContains(t, err, "no good")
	_, err = Dispatch(t.Context(), p, StepMark, Request{Key: "long"})
	require.ErrorContains(t, err, "4097 bytes")
	_, err = Dispatch(t.Context(), p, StepMark, Request{Key: "binary"})
	require.ErrorContains(t, err, "not UTF-8")
}

func TestDispatchTurnsFaultsIntoFails(t *testing.T) {
	var fail *Fail
	_, err := Dispatch(t.Context(), plain{}, StepUndo, Request{})
	require.ErrorAs(t, err, &fail)
	require.Equal(t, `plugin plain does not implement step "undo"`, fail.Message)
	require.Equal(t, "it implements: recover", fail.Hint)

	_, err = Dispatch(t.Context(), plain{}, StepRecover, Request{}) // its recover is nil
	require.ErrorAs(t, err, &fail)
	require.Contains(t, fail.Message, "plugin plain panicked in step recover")
	var crash *Panic
	require.ErrorAs(t, err, &crash)
	require.Contains(t, string(crash.Stack), "sdk_test.go")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	called := false
	_, err = Dispatch(ended, plain{func(context.Context, Request) (Result, error) { called = true; return Result{}, nil }}, StepRecover, Request{})
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, called)
}

func TestFailureKeepsWhatCrossesTheWire(t *testing.T) {
	f := failureOf(&Fail{Message: "m\xff", Hint: "h", Retryable: true, Err: ErrUnknown})
	require.Equal(t, "m\uFFFD", f.GetMessage())
	require.True(t, f.GetRetryable() && f.GetUnknown())
	require.Equal(t, "pool.size", failureOf(BadOption("pool.size", "", "too big")).GetOption())
}

func TestExplainSaysHowToConfigureIt(t *testing.T) {
	var out bytes.Buffer
	explain(&out, Description{Name: "x", Version: "1", Summary: "repairs"})
	require.Contains(t, out.String(), "not by hand")
	require.Regexp(t, `sha256: [0-9a-f]{64}\n`, out.String())
}

// shedder only isolates.
type shedder struct{ NoRecovery }

func (shedder) Describe() Description                                { return Description{Name: "shedder"} }
func (shedder) Isolate(context.Context, Request) (Result, error)     { return Result{}, nil }
func (shedder) Reintegrate(context.Context, Request) (Result, error) { return Result{}, nil }

func TestAPluginMayLeaveRecoverOut(t *testing.T) {
	require.Equal(t, []Step{StepIsolate, StepReintegrate}, Describe(shedder{}).Steps)
	_, err := Dispatch(t.Context(), shedder{}, StepRecover, Request{})
	var fail *Fail
	require.ErrorAs(t, err, &fail)
	require.Equal(t, `plugin shedder does not implement step "recover"`, fail.Message)
	require.Equal(t, "it implements: isolate, reintegrate", fail.Hint)
	_, err = shedder{}.Recover(t.Context(), Request{})
	require.ErrorContains(t, err, "cannot recover")
}

// TestFoldersTakeAShareOfTheTime: a plugin that wants none must have time for its work.
func TestFoldersTakeAShareOfTheTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var said []string
	slow := func(ctx context.Context, id string) (string, error) {
		if id == "quick" {
			return "/views/quick", nil
		}
		<-ctx.Done()
		return "", ctx.Err()
	}
	began := time.Now()
	req := Request{CheckpointID: "slow", HealthyID: "quick"}.WithFolders(slow).WithProgress(func(s string) { said = append(said, s) }).Folders(ctx)
	require.Less(t, time.Since(began), 2*time.Second)
	require.NoError(t, ctx.Err())
	require.Empty(t, req.CheckpointDir)
	require.Equal(t, "/views/quick", req.HealthyDir, "each has a time of its own")
	require.Len(t, said, 1)
	require.Contains(t, said[0], "it took longer than 500ms")
	require.Contains(t, said[0], "timeout")

	// Who has no deadline waits.
	free, stop := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, stop)
	require.Empty(t, Request{CheckpointID: "slow"}.WithFolders(slow).Folders(free).CheckpointDir)
	require.ErrorIs(t, free.Err(), context.Canceled)
}
