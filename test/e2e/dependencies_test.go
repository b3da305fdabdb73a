package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
)

// dependenciesFirst: web needs db. Both are killed, web first, and db starts slowly; db is
// recovered before anything is done about web.
func dependenciesFirst(t *testing.T, server *stand.Server) {
	db, web := newDemo(t), newDemo(t)
	slow := append([]string{"/bin/sh", "-c", `sleep 1; exec "$@"`, "slow"}, db.argv()...)
	s := play(t, server, "dependencies", "\n  - name: db"+db.checks()+fill(`
    ladder:
      - name: slow-restart
        use: process
        with: {start: <argv>, pid_file: <pid>}
`, "argv", slow, "pid", db.pidFile())+quick+`
  - name: web
    depends_on: [db]`+web.checks()+"    ladder:"+web.restart()+quick)
	dbBefore, webBefore := db.pid(), web.pid()
	killed := web.kill()
	db.kill()

	s.healed("web", 1, killed, "restart", shivx.RecoverProcess)
	s.healed("db", 1, killed, "slow-restart", shivx.RecoverProcess)
	db.works(dbBefore)
	web.works(webBefore)
	dbDone := s.place(func(r shivx.RecoveryRecord) bool {
		return r.Component == "db" && r.EventType == shivx.EventStepDone && r.Step == shivx.StepRecover
	})
	webBegun := s.place(func(r shivx.RecoveryRecord) bool {
		return r.Component == "web" && r.EventType == shivx.EventStepStarted
	})
	require.Positive(t, dbDone)
	require.Greater(t, webBegun, dbDone, "web was touched before db was recovered")
	for _, c := range []string{"db", "web"} {
		s.awaitQuiet(c)
		require.Len(t, s.runs(c), 1)
	}
}
