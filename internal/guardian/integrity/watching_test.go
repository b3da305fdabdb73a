package integrity

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

func TestRootsOfAllKindsAreWatched(t *testing.T) {
	r := newRig(t)
	app := r.write("etc/app.conf", "1")
	later := filepath.Join(r.tree, "not/yet/there")
	link := filepath.Join(r.tree, "current")
	require.NoError(t, os.Symlink("releases/1", link))
	r.rules.Paths = []string{app, later, link}
	r.open().run()
	require.Equal(t, 2, r.Status().Entries)

	r.write("etc/app.conf", "2")
	require.Empty(t, r.await("content etc/app.conf"))
	other := r.write("etc/other", "3")
	require.NoError(t, os.Rename(other, app))
	require.Empty(t, r.await("content etc/app.conf"))
	r.write("etc/app.conf", "4")
	require.Empty(t, r.await("content etc/app.conf"), "the file in its place is watched, too")

	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink("releases/evil", link))
	require.Empty(t, r.await("symlink current"))

	r.write("not/yet/there/file", "x")
	require.Empty(t, r.await("added not/yet/there", "added not/yet/there/file"))
}

func TestAFolderIsSwappedAndPutBack(t *testing.T) {
	r := newRig(t)
	r.rules.Paths = []string{filepath.Join(r.tree, "opt/app")}
	r.write("opt/app/bin/one", "1")
	r.write("opt/app/bin/two", "2")
	r.open().run()
	app := filepath.Join(r.tree, "opt/app")
	require.NoError(t, os.Rename(app, app+".real"))
	r.write("opt/app/bin/one", "evil")
	r.await("content opt/app/bin/one", "removed opt/app/bin/two")
	require.NoError(t, os.RemoveAll(app))
	require.NoError(t, os.Rename(app+".real", app))
	require.Eventually(t, func() bool { return r.Status().Findings == 0 }, 10*time.Second, time.Millisecond)
	r.take()
	r.write("opt/app/bin/two", "evil")
	require.Empty(t, r.await("content opt/app/bin/two"), "what was away and is back is watched")
}

func TestARenamedFolderIsOneRenaming(t *testing.T) {
	r := newRig(t)
	r.write("a/b/one", "1")
	r.write("a/b/two", "2")
	r.write("c/three", "3")
	r.open().run()
	require.NoError(t, os.Rename(filepath.Join(r.tree, "a/b"), filepath.Join(r.tree, "c/d")))
	require.Empty(t, r.await("renamed a/b", "renamed a/b/one", "renamed a/b/two"))
	require.Equal(t, filepath.Join(r.tree, "c/d/one"), r.Status().Open[1].Details["to"])
	require.NoError(t, os.WriteFile(filepath.Join(r.tree, "c/d/one"), []byte("evil"), 0o600))
	require.Empty(t, r.await("added c/d/one"), "one end changes")
}

func TestWritingThroughAnotherNameIsTold(t *testing.T) {
	r := newRig(t)
	path := r.write("bin/app", "program")
	outside := filepath.Join(filepath.Dir(r.tree), "outside")
	require.NoError(t, os.Link(path, outside))
	r.open().run()
	require.NoError(t, os.WriteFile(outside, []byte("PROGRAM"), 0o600))
	require.Empty(t, r.await("content bin/app"))
}

func TestTheBaselineIsWatched(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.open().run()
	path := r.store.path(baselineName)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("X"), 40)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Empty(t, r.await("baseline baseline.ndjson"))
	r.kinds()
	require.NoError(t, os.WriteFile(path, data, 0o600))
	r.awaitRecord(RecordResolved)
	require.NoError(t, os.Remove(r.store.path(keyName)))
	require.Empty(t, r.await("baseline baseline.key"))
	_, err = r.Rebase(t.Context(), "ops", "new key file")
	require.NoError(t, err)
	require.Empty(t, r.verify())
	require.Zero(t, r.Status().Findings)
}

func TestOnScheduleContentIsReadWhateverTheKernelTells(t *testing.T) {
	r := newRig(t)
	r.rules.Every = 50 * time.Millisecond
	path := r.write("bin/app", "program")
	r.open().run()
	editMapped(t, path, 3)
	require.Empty(t, r.await("content bin/app"))
}

func TestLostEventsLeadToAVerification(t *testing.T) {
	r := newRig(t)
	r.write("bin/app", "program")
	r.open().run()
	last := r.Status().Last.At
	r.notice("", true)
	require.Eventually(t, func() bool { return r.Status().Last.At.After(last) }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, r.Status().Watching.Overflows)
}

func TestTheKernelSaysWhenItLosesEvents(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	require.NoError(t, err)
	var most int
	_, err = fmt.Sscan(string(limit), &most)
	require.NoError(t, err)
	if most > 1<<17 {
		t.Skip("the queue is too long to be filled")
	}
	dir := memoryDir(t)
	lost := make(chan struct{}, 1)
	n, err := newNotifier(func(path string, _ bool) {
		if path == "" {
			lost <- struct{}{}
		}
	})
	require.NoError(t, err)
	n.above(dir)
	for i := range most/2 + 100 {
		path := filepath.Join(dir, fmt.Sprint(i%2))
		require.NoError(t, os.Mkdir(path, 0o700))
		require.NoError(t, os.Remove(path))
	}
	done := make(chan error)
	go func() { done <- n.run() }()
	<-lost
	n.close()
	require.NoError(t, <-done)
}

// limitedEnv is set in a process that may have few watches.
const limitedEnv = "SHIVX_TEST_INTEGRITY_LIMITED"

// TestTooFewWatchesAreSaid runs in a user namespace of its own, which has limits of its own.
func TestTooFewWatchesAreSaid(t *testing.T) {
	if os.Getenv(limitedEnv) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTooFewWatchesAreSaid$")
		cmd.Env = append(os.Environ(), limitedEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{Size: 1, HostID: os.Getuid()}},
			GidMappings: []syscall.SysProcIDMap{{Size: 1, HostID: os.Getgid()}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil && strings.Contains(err.Error(), "fork/exec") {
			testenv.Missing(t, "needs a user namespace: "+err.Error())
		}
		require.NoError(t, err, string(out))
		return
	}
	require.NoError(t, os.WriteFile("/proc/sys/user/max_inotify_watches", []byte("6"), 0o644))
	r := newRig(t)
	for i := range 20 {
		r.write(fmt.Sprintf("d%d/f", i), "1")
	}
	r.rules.Every = 100 * time.Millisecond
	r.open().run()
	require.Eventually(t, func() bool { return r.Status().Watching.Unwatched > 0 }, 10*time.Second, time.Millisecond)
	require.Contains(t, r.Status().Watching.Error, unix.ENOSPC.Error())
	r.awaitRecord(RecordUnwatched)
	for i := range 20 {
		r.write(fmt.Sprintf("d%d/f", i), "2")
	}
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("content d%d/f", i))
	}
	require.Empty(t, r.await(want...), "verification finds what the kernel does not tell of")
}
