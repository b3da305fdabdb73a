package health

import (
	"context"
	"errors"
	"fmt"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/resp"
)

// redisProbe passes when PING is answered. While the server loads its data or refuses writes it
// still answers, with an error; that passes too unless Writable is set.
//
// Whether it takes writes is asked with SETRANGE key 0 "": a write command for all of the
// server's own gates (read-only replica, full memory, failed persistence, too few replicas,
// loading, access rights), which by definition changes nothing.
type redisProbe struct{ c config.RedisCheck }

// writeKey is never created.
const writeKey = "shivx:health"

func newRedisProbe(c config.RedisCheck) (Probe, error) {
	if err := checkAddress(c.Address); err != nil {
		return nil, err
	}
	if c.Username != "" && c.Password == "" {
		return nil, shivx.Hint(errors.New("a username without a password"), "add password: env:NAME or file:PATH")
	}
	return &redisProbe{c}, nil
}

func (p *redisProbe) Check(ctx context.Context) error {
	conn, err := dial(ctx, p.c.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := p.talk(resp.New(conn)); err != nil {
		if _, answered := errors.AsType[resp.Error](err); !answered {
			err = plain(ctx, err)
		}
		return fmt.Errorf("%s: %w", p.c.Address, err)
	}
	return nil
}

func (p *redisProbe) talk(c *resp.Conn) error {
	if err := p.login(c); err != nil {
		return err
	}
	answer, err := c.Call("PING")
	if err := p.accept(err); err != nil {
		return err
	}
	if err == nil && answer != "PONG" {
		return fmt.Errorf("answered %q to PING", shorten(answer, 80))
	}
	if !p.c.Writable {
		return nil
	}
	_, err = c.Call("SETRANGE", writeKey, "0", "")
	return refusal(err)
}

func (p *redisProbe) login(c *resp.Conn) error {
	if p.c.Password == "" {
		return nil
	}
	password, err := config.Resolve(p.c.Password)
	if err != nil {
		return fmt.Errorf("password: %w", err)
	}
	args := []string{"AUTH", password}
	if p.c.Username != "" {
		args = []string{"AUTH", p.c.Username, password}
	}
	_, err = c.Call(args...)
	return p.accept(err)
}

// accept lets errors pass that say "I live" when that is all that was asked.
func (p *redisProbe) accept(err error) error {
	answer, ok := errors.AsType[resp.Error](err)
	if !ok || p.c.Writable {
		return err
	}
	switch answer.Code() {
	case "LOADING", "MISCONF", "READONLY", "MASTERDOWN":
		return nil
	}
	return err
}

// refusal tells a refused write from answers that come after all gates were passed.
func refusal(err error) error {
	answer, ok := errors.AsType[resp.Error](err)
	if !ok {
		return err
	}
	switch answer.Code() {
	case "WRONGTYPE", "MOVED", "ASK": // a foreign key of that name; a cluster keeps the key elsewhere
		return nil
	case "NOPERM":
		return shivx.Hint(err, "writable needs the right: +setrange ~"+writeKey)
	}
	return fmt.Errorf("refuses writes: %w", err)
}
