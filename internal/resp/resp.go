// Package resp speaks RESP2, the protocol of Redis, as far as a few commands need it: answers are
// statuses, integers, strings and lists of those, and are small.
package resp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Error is an error answer of the server.
type Error string

// Error is the answer, shortened.
func (e Error) Error() string { return shorten(string(e), 200) }

// Code is the first word of the answer, such as NOAUTH.
func (e Error) Code() string {
	code, _, _ := strings.Cut(string(e), " ")
	return code
}

// maxReply bounds a string of an answer in bytes, maxList a list.
const (
	maxReply = 64 << 10
	maxList  = 64
)

// Conn is one connection. It must not be used after an error that is no [Error].
type Conn struct {
	w io.Writer
	r *bufio.Reader
}

// New speaks over an open connection.
func New(conn io.ReadWriter) *Conn { return &Conn{w: conn, r: bufio.NewReader(conn)} }

// Call sends one command and reads an answer that is no list.
func (c *Conn) Call(args ...string) (string, error) {
	line, err := c.send(args)
	if err != nil {
		return "", err
	}
	answer, err := c.value(line)
	return answer, closed(err, args[0])
}

// List sends one command and reads an answer that is a list.
func (c *Conn) List(args ...string) ([]string, error) {
	line, err := c.send(args)
	if err != nil {
		return nil, err
	}
	length, ok := strings.CutPrefix(line, "*")
	if !ok {
		if _, err := c.value(line); err != nil {
			return nil, closed(err, args[0])
		}
		return nil, fmt.Errorf("answered %q to %s, which is no list", shorten(line, 80), args[0])
	}
	n, err := strconv.Atoi(length)
	if err != nil || n > maxList {
		return nil, fmt.Errorf("a Redis list of length %q", shorten(length, 20))
	}
	var list []string
	for range n {
		line, err := c.line()
		if err != nil {
			return nil, closed(err, args[0])
		}
		value, err := c.value(line)
		if err != nil {
			return nil, closed(err, args[0])
		}
		list = append(list, value)
	}
	return list, nil
}

// send sends a command and reads the first line of the answer.
func (c *Conn) send(args []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c.w, b.String()); err != nil {
		return "", fmt.Errorf("send %s: %w", args[0], err)
	}
	line, err := c.line()
	return line, closed(err, args[0])
}

func closed(err error, command string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the server closed the connection instead of answering %s", command)
	}
	return err
}

func (c *Conn) line() (string, error) {
	line, err := c.r.ReadSlice('\n') // at most the reader's buffer
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
	return text, nil
}

// value returns what an answer says that begins with line.
func (c *Conn) value(line string) (string, error) {
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", Error(line[1:])
	case '$':
		return c.bulk(line[1:])
	}
	return "", fmt.Errorf("this is not a Redis server: it answered %q", shorten(line, 80))
}

func (c *Conn) bulk(length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < -1 || n > maxReply {
		return "", fmt.Errorf("a Redis answer of length %q", shorten(length, 20))
	}
	if n < 0 {
		return "", nil
	}
	buf := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(c.r, buf); err != nil {
		return "", err
	}
	if string(buf[n:]) != "\r\n" {
		return "", errors.New("a Redis answer without its end")
	}
	return string(buf[:n]), nil
}

// shorten cuts text at n bytes.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}
