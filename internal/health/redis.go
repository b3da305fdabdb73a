package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
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
	if err := p.talk(conn, bufio.NewReader(conn)); err != nil {
		if _, answered := errors.AsType[redisError](err); !answered {
			err = plain(ctx, err)
		}
		return fmt.Errorf("%s: %w", p.c.Address, err)
	}
	return nil
}

func (p *redisProbe) talk(w io.Writer, r *bufio.Reader) error {
	if err := p.login(w, r); err != nil {
		return err
	}
	answer, err := call(w, r, "PING")
	if err := p.accept(err); err != nil {
		return err
	}
	if err == nil && answer != "PONG" {
		return fmt.Errorf("answered %q to PING", shorten(answer, 80))
	}
	if !p.c.Writable {
		return nil
	}
	_, err = call(w, r, "SETRANGE", writeKey, "0", "")
	return refusal(err)
}

func (p *redisProbe) login(w io.Writer, r *bufio.Reader) error {
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
	_, err = call(w, r, args...)
	return p.accept(err)
}

// accept lets errors pass that say "I live" when that is all that was asked.
func (p *redisProbe) accept(err error) error {
	answer, ok := errors.AsType[redisError](err)
	if !ok || p.c.Writable {
		return err
	}
	switch answer.code() {
	case "LOADING", "MISCONF", "READONLY", "MASTERDOWN":
		return nil
	}
	return err
}

// refusal tells a refused write from answers that come after all gates were passed.
func refusal(err error) error {
	answer, ok := errors.AsType[redisError](err)
	if !ok {
		return err
	}
	switch answer.code() {
	case "WRONGTYPE", "MOVED", "ASK": // a foreign key of that name; a cluster keeps the key elsewhere
		return nil
	case "NOPERM":
		return shivx.Hint(err, "writable needs the right: +setrange ~"+writeKey)
	}
	return fmt.Errorf("refuses writes: %w", err)
}

// redisError is an error answer of the server.
type redisError string

func (e redisError) Error() string { return shorten(string(e), 200) }

func (e redisError) code() string {
	code, _, _ := strings.Cut(string(e), " ")
	return code
}

// maxReply bounds what is read of one answer.
const maxReply = 64 << 10

// call sends one command and reads a simple answer (RESP2: status, error, integer, bulk string).
func call(w io.Writer, r *bufio.Reader, args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return "", fmt.Errorf("send %s: %w", args[0], err)
	}
	answer, err := readReply(r)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("the server closed the connection instead of answering %s", args[0])
	}
	return answer, err
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n') // at most the reader's buffer
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errors.New("this is not a Redis server: its answer has no end of line")
	}
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok || text == "" {
		return "", fmt.Errorf("this is not a Redis server: it answered %q", shorten(string(line), 80))
	}
	switch text[0] {
	case '+', ':':
		return text[1:], nil
	case '-':
		return "", redisError(text[1:])
	case '$':
		return readBulk(r, text[1:])
	}
	return "", fmt.Errorf("this is not a Redis server: it answered %q", shorten(text, 80))
}

func readBulk(r *bufio.Reader, length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < -1 || n > maxReply {
		return "", fmt.Errorf("a Redis answer of length %q", shorten(length, 20))
	}
	if n < 0 {
		return "", nil
	}
	buf := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(r, buf); err != nil {
		return "", err
	}
	if string(buf[n:]) != "\r\n" {
		return "", errors.New("a Redis answer without its end")
	}
	return string(buf[:n]), nil
}
