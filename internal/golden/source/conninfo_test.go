package source

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConnectKeepsThePasswordOffTheCommandLine(t *testing.T) {
	for dsn, want := range map[string]struct{ args, password string }{
		"":                       {"", ""},
		"postgres://":            {"", ""},
		"postgres://h":           {"--dbname=host='h'", ""},
		"postgres://u:p%40%2Fw@": {"--dbname=user='u'", "p@/w"},
		"postgresql://u:p@h:1,[::1]:2/d%27b?sslmode=disable&password=q": {`--dbname=user='u' host='h,::1' port='1,2' dbname='d\'b' sslmode='disable'`, "q"},
		"postgres://%2Frun%2Fpg/db":                                     {"--dbname=host='/run/pg' dbname='db'", ""},
		`host=h password='a b\'\\c' user = me`:                          {"--dbname=host='h' user='me'", `a b'\c`},
		`password=a\ b dbname='x y' `:                                   {"--dbname=dbname='x y'", "a b"},
	} {
		c, err := connect(dsn)
		require.NoError(t, err, dsn)
		got := append(c.args(), "")[0]
		require.Equal(t, want.args, got, dsn)
		require.Equal(t, want.password, c.env["PGPASSWORD"], dsn)
	}
	for _, dsn := range []string{"secret", "host=h secret", "password='secret", "postgres://u:secret%zz@h", "sslpassword=secret", "postgres://h?sslpassword=secret"} {
		_, err := connect(dsn)
		require.ErrorIs(t, err, errDSN, dsn)
		require.NotContains(t, err.Error(), "secret")
	}
	t.Setenv("PGHOST", "elsewhere")
	c, err := connect("dbname=a")
	require.NoError(t, err)
	require.Equal(t, "elsewhere", c.env["PGHOST"])
	require.Equal(t, []string{"--dbname=dbname='a' dbname='b'"}, c.database("b").args())
	require.Equal(t, []string{"--dbname=dbname='a'"}, c.database("").args())
}
