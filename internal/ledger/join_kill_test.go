package ledger

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// joinChild joins and kills itself at the step of that number; it prints the step's name before.
func joinChild(spec string) int {
	f := strings.Split(spec, "|")
	o, n := joinOptions("restore-1"), 0
	at, err := strconv.Atoi(f[2])
	if err != nil {
		return 2
	}
	o.step = func(point string) {
		if n++; n == at {
			fmt.Println(point)
			_ = syscall.Kill(os.Getpid(), unix.SIGKILL)
		}
	}
	if _, err := Join(context.Background(), f[0], f[1], o); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// TestAJoinThatIsKilledIsEnded kills a join at each of its steps. Whoever opens the ledger next finds all
// that was in it before, and the join takes place once.
func TestAJoinThatIsKilledIsEnded(t *testing.T) {
	for name, again := range map[string]func(*testing.T, joint){
		"by the next join": func(t *testing.T, j joint) { j.join(t) },
		"after people have removed what it kept": func(t *testing.T, j joint) {
			if !exists(filepath.Join(joinFolder(j.path), joinNew, filepath.Base(j.path))) {
				dir, stem, _ := splitPath(j.path)
				require.NoError(t, os.RemoveAll(filepath.Join(dir, stem+".before-join-restore-1")))
			}
			j.join(t)
		},
		"by whoever opens the ledger": func(t *testing.T, j joint) {
			l := open(t, j.path, Options{})
			appendN(t, l, 60, 1)
			require.NoError(t, l.Close())
			require.NoDirExists(t, joinFolder(j.path))
			j.join(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var points []string
			for at := 1; ; at++ {
				j := newJoint(t, 4000)
				files, _ := j.lines(t)
				require.NoError(t, os.Remove(files[0]))
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "SHIVX_LEDGER_JOIN="+j.path+"|"+j.copied+"|"+strconv.Itoa(at))
				out, err := cmd.Output()
				if err == nil {
					break
				}
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit)
				require.Equal(t, -1, exit.ExitCode(), "%s", out)
				points = append(points, strings.TrimSpace(string(out)))
				again(t, j)
				rep := verify(t, j.path, VerifyOptions{Witness: j.witness})
				require.True(t, rep.OK, "killed at %q: %+v", points[at-1], rep.Findings)
				joins := 0
				for _, r := range readAll(t, j.path) {
					if strings.Contains(string(r.Raw), `"event_type":"ledger.join"`) {
						joins++
					}
				}
				require.Equal(t, 1, joins, "killed at %q", points[at-1])
			}
			require.Contains(t, points, "planned")
			require.Contains(t, points, "placed operational_ledger.ndjson")
			require.Contains(t, points, "recorded")
		})
	}
}
