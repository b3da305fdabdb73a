package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

const redisChecks = `
  - name: redis
    checks:
      - process: {pid_file: <pid>}
      - redis: {address: <addr>, writable: true}
`

const redisRestart = `
      - name: restart
        use: process
        with: {start: <argv>, pid_file: <pid>, start_grace: 500ms}
`

// redisKilled: kill -9; Redis comes back once, with every key.
func redisKilled(t *testing.T, server *stand.Server) {
	r := testenv.Redis(t, "logfile redis.log")
	s := play(t, server, "redis-killed", fill(redisChecks+"    ladder:"+redisRestart+quick,
		"pid", r.PIDFile, "addr", r.Addr, "argv", r.Argv))
	setKeys(t, r, "v1")
	before := r.FilePID()
	killed := time.Now()
	r.Kill(t)

	s.healed("redis", 1, killed, "restart", shivx.RecoverProcess)
	requireKeys(t, r, "v1")
	require.NotEqual(t, before, r.FilePID())
	log, err := os.ReadFile(filepath.Join(r.Dir, "redis.log"))
	require.NoError(t, err)
	require.Equal(t, 2, bytes.Count(log, []byte("Redis is starting")), "the first start and one more")
	s.awaitQuiet("redis")
	require.Len(t, s.runs("redis"), 1)
}

// redisCorrupted: the append-only file is damaged in the middle, so that no restart helps; the
// ladder climbs to a restore from the last healthy checkpoint.
func redisCorrupted(t *testing.T, server *stand.Server) {
	checkAOF := testenv.Need(t, "redis-check-aof")[0]
	r := testenv.Redis(t, "logfile redis.log")
	folder := filepath.Join(r.Dir, "appendonlydir")
	s := play(t, server, "redis-corrupted", fill(redisChecks+`
    state: {paths: [<folder>], `+anyChange+`}
    ladder:`+redisRestart+`
      - name: restore
        use: data
        with: {start: <argv>, pid_file: <pid>}
    validate: {window: 300ms, every: 100ms, settle: 5s}
    limits: {cooldown: 100ms}
`, "pid", r.PIDFile, "addr", r.Addr, "argv", r.Argv, "folder", folder))

	setKeys(t, r, "at the checkpoint")
	var good activities.CheckpointResult
	require.NoError(t, s.update(shivx.ComponentID(s.target("redis")), shivx.UpdateCheckpoint, workflows.CheckpointRequest{By: "e2e"}, &good))
	require.NotEmpty(t, good.ID, good.Summary)
	setKeys(t, r, "after the checkpoint")
	r.Do(t, "SET", "later", "too late")
	file, damaged := damage(t, folder)
	require.Error(t, exec.Command(checkAOF, file).Run(), "the file is not damaged enough")
	killed := time.Now()
	r.Kill(t)

	rec := s.healed("redis", 1, killed, "restore", shivx.RecoverData)
	requireKeys(t, r, "at the checkpoint")
	require.Equal(t, "$-1", r.Do(t, "GET", "later"))
	require.NoError(t, exec.Command(checkAOF, file).Run())

	failed := s.events(shivx.EventStepFailed, "redis")
	require.Len(t, failed, 1)
	require.Equal(t, "restart", failed[0].Strategy)
	require.Contains(t, failed[0].Message, "ended at once")
	require.Equal(t, damaged, hashInCheckpoint(t, s, rec, file), "the damaged file is kept as it was")
}

const keys = 500

func setKeys(t *testing.T, r *testenv.RedisServer, value string) {
	t.Helper()
	for i := range keys {
		require.Equal(t, "+OK", r.Do(t, "SET", fmt.Sprint("key", i), fmt.Sprint(value, " ", i)))
	}
}

func requireKeys(t *testing.T, r *testenv.RedisServer, value string) {
	t.Helper()
	require.Equal(t, fmt.Sprintf(":%d", keys), r.Do(t, "DBSIZE"))
	for i := range keys {
		require.Equal(t, fmt.Sprint(value, " ", i), r.Do(t, "GET", fmt.Sprint("key", i)))
	}
}

// damage overwrites a part in the middle of the append-only file and returns the file and its hash.
func damage(t *testing.T, folder string) (file, hash string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.incr.aof"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xde, 0xad}, 64), info.Size()/2)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return files[0], hashOf(t, files[0])
}

func hashOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// hashInCheckpoint returns the hash of the copy that the run's fault checkpoint holds of a file.
func hashInCheckpoint(t *testing.T, s *scene, run shivx.RecoveryRecord, file string) string {
	t.Helper()
	id, _ := run.Details.(map[string]any)["checkpoint"].(string)
	require.NotEmpty(t, id)
	store, err := checkpoint.Open(checkpoint.Options{Var: s.Var})
	require.NoError(t, err)
	c, err := store.Get(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, checkpoint.KindFault, c.Kind)
	require.NoError(t, store.Verify(t.Context(), c))
	text, _, err := store.ReadFile(t.Context(), c, file)
	require.NoError(t, err)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
