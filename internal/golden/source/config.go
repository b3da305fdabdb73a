package source

import (
	"fmt"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
)

// New makes the source that a configuration names.
func New(c config.GoldenSource) (Source, error) {
	switch {
	case c.SQLite != nil:
		return made(NewSQLite(c.Name, SQLiteOptions{Path: c.SQLite.Path, Limit: c.Timeout}))
	case c.Redis != nil:
		r := c.Redis
		return made(NewRedis(c.Name, RedisOptions{Address: r.Address, Username: r.Username, Password: r.Password, Dir: r.Dir, Limit: c.Timeout}))
	case c.Command != nil:
		return made(NewCommand(c.Name, CommandOptions{Pre: spec(c.Command.Pre), Post: spec(c.Command.Post)}))
	case c.Postgres != nil && c.Postgres.Method == "dump":
		p := c.Postgres
		return made(NewDump(c.Name, DumpOptions{Path: p.DumpDirectory, Databases: p.Databases, DSN: p.DSN, User: p.RunAs, Bin: p.Bin, Limit: c.Timeout}))
	case c.Postgres != nil:
		p := c.Postgres
		return made(NewPostgres(c.Name, PostgresOptions{Data: p.DataDirectory, DSN: p.DSN, User: p.RunAs, Bin: p.Bin, Limit: c.Timeout}))
	}
	return nil, fmt.Errorf("source %s: no kind", c.Name)
}

// made keeps a nil pointer from becoming a Source that is not nil.
func made[S Source](s S, err error) (Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func spec(c *config.Command) command.Spec {
	if c == nil {
		return command.Spec{}
	}
	return command.Spec{Argv: c.Argv, Dir: c.Dir, Env: c.Env, Timeout: c.Timeout}
}
