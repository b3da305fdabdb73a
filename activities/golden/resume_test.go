package golden_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

// killedAt runs a restore that ends when it begins a step as a process does that is killed there: nothing is put
// back. It returns what the restore is called, and the host as the next process finds it.
func (s *stage) killedAt(t *testing.T, step shivx.GoldenStep) (id string, next *stage) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := s.local(func(r shivx.GoldenStepReport) {
			if r.Name == step && r.Outcome == shivx.StepRunning {
				runtime.Goexit()
			}
		}).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}, Golden: "one"})
		t.Errorf("the restore came to its end: %v", err)
	}()
	<-ended
	jobs, err := filepath.Glob(filepath.Join(s.cfg.Paths.Var, "recovery/golden/restores/*.services"))
	require.NoError(t, err)
	require.Len(t, jobs, 1)
	return strings.TrimSuffix(filepath.Base(jobs[0]), ".services"), s.reopen(t)
}

// TestServicesThatTheBootStartedAreRestarted: after a power failure in the swap they run with files of two
// states, and the resumed restore would exchange the rest beneath them.
func TestServicesThatTheBootStartedAreRestarted(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	id, s := s.killedAt(t, shivx.GoldenStepStart)
	require.False(t, s.alive())
	s.start(t, 7, "good 1")
	pid := s.pid()
	s.halfway(t, id)
	require.NoError(t, s.local(nil).Resume(t.Context()))
	s.runs(t, "good 1")
	require.NotEqual(t, pid, s.pid(), "it ran through the swap")
	require.Equal(t, "good 1", s.word(t))
	require.Empty(t, s.left(t))
	require.Equal(t, shivx.OutcomeRestored, s.ends(t, id)[0].Outcome)
}

// TestResumeLeavesServicesThatNothingHappensTo: before the swap and after the end no file is exchanged.
func TestResumeLeavesServicesThatNothingHappensTo(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	_, s = s.killedAt(t, shivx.GoldenStepStop)
	pid := s.pid()
	require.NoError(t, s.local(nil).Resume(t.Context()))
	require.Equal(t, pid, s.pid())
	require.Equal(t, "good 2", s.word(t))
	require.Empty(t, s.left(t))
}

// TestResumeWithAConfigurationThatKnowsNothing of what is restored: a restore may have put it in place. It ends
// all the same, its services run, and other restores can begin.
func TestResumeWithAConfigurationThatKnowsNothing(t *testing.T) {
	edits := map[string]*strings.Replacer{
		"of the set":                   strings.NewReplacer("- name: shop\n      paths", "- name: other\n      paths"),
		"of the set and its component": strings.NewReplacer("- name: shop\n", "- name: other\n", "services: [shop]", "services: [other]"),
	}
	for name, edit := range edits {
		for _, step := range []shivx.GoldenStep{shivx.GoldenStepSwap, shivx.GoldenStepStart} {
			t.Run(name+" at "+string(step), func(t *testing.T) {
				s := makeStage(t)
				s.take(t, "one")
				fill(t, s.dir, "good 2")
				path := filepath.Join(s.dir, "shivx.yaml")
				data, err := os.ReadFile(path)
				require.NoError(t, err)
				older := edit.Replace(string(data))
				require.NotEqual(t, older, string(data))
				require.NoError(t, os.WriteFile(path, []byte(older), 0o644))
				_, s = s.killedAt(t, step)
				_, known := s.cfg.GoldenSet("shop")
				require.False(t, known)
				require.False(t, s.alive())
				require.NoError(t, s.local(nil).Resume(t.Context()))
				s.runs(t, "good 2")
				require.Equal(t, "good 2", s.word(t))
				require.Empty(t, s.left(t))
			})
		}
	}
}

// TestJobOfALaterVersion is left alone, and it is said which program can end it.
func TestJobOfALaterVersion(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	id, s := s.killedAt(t, shivx.GoldenStepStart)
	path := filepath.Join(s.cfg.Paths.Var, "recovery/golden/restores", id+".services")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	later := strings.Replace(string(data), `"format":1,`, `"format":2,`, 1)
	require.NotEqual(t, later, string(data))
	require.NoError(t, os.WriteFile(path, []byte(later), 0o600))
	err = s.local(nil).Resume(t.Context())
	require.ErrorContains(t, err, "format 2")
	require.Contains(t, shivx.HintOf(err), "later version")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.NoError(t, s.local(nil).Resume(t.Context()))
	s.runs(t, "good 1")
}

// TestResumeEndsBackups: what a backup has stopped runs again, although its process was killed.
func TestResumeEndsBackups(t *testing.T) {
	s := makeStage(t)
	path, done := filepath.Join(s.dir, "shivx.yaml"), filepath.Join(t.TempDir(), "done")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	post := "services: [shop]\n      sources: [{name: app, command: {paths: [" + filepath.Join(s.dir, "srv") + "], post: {argv: [touch, " + done + "]}}}]"
	with := strings.Replace(string(data), "services: [shop]", post, 1)
	require.NotEqual(t, with, string(data))
	require.NoError(t, os.WriteFile(path, []byte(with), 0o644))
	s = s.reopen(t)
	require.NoError(t, s.local(nil).Resume(t.Context()))
	require.NoFileExists(t, done)
	marker := filepath.Join(s.cfg.Paths.Var, "recovery/golden/exports/shop/hook-app~1")
	require.NoError(t, os.MkdirAll(marker, 0o700))
	require.NoError(t, s.local(nil).Resume(t.Context()))
	require.FileExists(t, done)
	require.NoDirExists(t, marker)
}

// TestResumeFinishesWhatHolds: a restore holds although its old state could not be removed; that is tried again, and
// keeps no other restore away.
func TestResumeFinishesWhatHolds(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	journals := filepath.Join(s.cfg.Paths.Var, "recovery/golden/restores")
	var note string // a folder in its place cannot be read, nor replaced
	in := shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}}
	r, err := s.local(func(r shivx.GoldenStepReport) {
		if r.Name != shivx.GoldenStepFinish || r.Outcome != shivx.StepRunning {
			return
		}
		jobs, err := filepath.Glob(filepath.Join(journals, "*.services"))
		require.NoError(t, err)
		require.Len(t, jobs, 1)
		note = strings.TrimSuffix(jobs[0], ".services") + ".ended"
		require.NoError(t, os.Mkdir(note, 0o700))
	}).Restore(t.Context(), in)
	require.NoError(t, err)
	require.Contains(t, r.Message, "the old state was not removed")
	held := filepath.Join(journals, r.Restore+".holds")
	data, err := os.ReadFile(held)
	require.NoError(t, err)

	require.NoError(t, s.local(nil).Resume(t.Context()), "it holds up nothing")
	require.FileExists(t, held)
	old, err := filepath.Glob(filepath.Join(s.dir, ".shivx-*"))
	require.NoError(t, err)
	require.NotEmpty(t, old)
	require.NoError(t, os.Remove(note))
	require.NoError(t, s.local(nil).Resume(t.Context()))
	require.NoFileExists(t, held)
	require.Empty(t, s.left(t), "the old state is removed")
	require.Equal(t, "good 1", s.word(t))

	require.NoError(t, os.Remove(note)) // as it is in time
	require.NoError(t, os.WriteFile(held, data, 0o600))
	_, err = s.local(nil).Restore(t.Context(), in)
	require.NoError(t, err)
	require.NoFileExists(t, held)
}

// TestResumeOnAFullDisk: what was staged is removed and the services run, although nothing can be written down.
func TestResumeOnAFullDisk(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	journals := filepath.Join(s.cfg.Paths.Var, "recovery/golden/restores")
	testenv.Tmpfs(t, journals, "size=1m")
	id, s := s.killedAt(t, shivx.GoldenStepSwap)
	require.False(t, s.alive())
	full, err := os.Create(filepath.Join(journals, "full"))
	require.NoError(t, err)
	for err == nil {
		_, err = full.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, full.Close())
	require.NoError(t, s.local(nil).Resume(t.Context()))
	s.runs(t, "good 2")
	require.NoFileExists(t, filepath.Join(journals, id+".services"))
	require.Empty(t, s.left(t))
}
