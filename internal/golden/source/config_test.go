package source

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func TestNew(t *testing.T) {
	for _, c := range []struct {
		c    config.GoldenSource
		want Source
	}{
		{config.GoldenSource{SQLite: &config.SQLiteSource{Path: "/a"}}, &SQLite{}},
		{config.GoldenSource{Redis: &config.RedisSource{Address: "h:1"}}, &Redis{}},
		{config.GoldenSource{Postgres: &config.PostgresSource{Method: "base", DataDirectory: "/d"}}, &Postgres{}},
		{config.GoldenSource{Postgres: &config.PostgresSource{Method: "dump", DumpDirectory: "/var/dumps/x"}}, &Dump{}},
		{config.GoldenSource{Command: &config.CommandSource{Pre: &config.Command{Argv: []string{"true"}}}}, &Command{}},
	} {
		c.c.Name = "x"
		s, err := New(c.c)
		require.NoError(t, err)
		require.IsType(t, c.want, s)
		require.Equal(t, "x", s.Name())
		if d, ok := s.(*Dump); ok {
			require.Equal(t, "/var/dumps/x", d.o.Path)
			require.Equal(t, []string{""}, d.o.Databases)
		}
		c.c.Name = ""
		s, err = New(c.c)
		require.Error(t, err)
		require.Nil(t, s)
	}
	_, err := New(config.GoldenSource{Name: "x"})
	require.ErrorContains(t, err, "no kind")
}
