// Package notify tells people that automation is at its end.
//
// A way to reach them is a URL that gets the message as JSON by POST, which is what chat
// systems and pagers take, or a command that gets it on its standard input.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
)

// Each way has this long, so that one that hangs does not keep the others waiting for ever.
const timeout = 10 * time.Second

// Sender delivers messages in every configured way.
type Sender struct {
	ways   []config.Notify
	client *http.Client
	log    *slog.Logger
}

// New returns a Sender for the configured ways.
func New(ways []config.Notify, log *slog.Logger) *Sender {
	return &Sender{ways: ways, client: &http.Client{Timeout: timeout}, log: log}
}

// Send delivers message, encoded as JSON, in every way at once. It returns the names of those that
// worked and of those that did not; why they did not is in the log.
func (s *Sender) Send(ctx context.Context, message any) (told, failed []string) {
	body, err := json.Marshal(message)
	if err != nil {
		s.log.Error("a message to people cannot be encoded", "error", err)
	}
	errs := make([]error, len(s.ways))
	var all sync.WaitGroup
	for i, w := range s.ways {
		all.Go(func() { errs[i] = s.send(ctx, w, body) })
	}
	all.Wait()
	for i, w := range s.ways {
		if errs[i] != nil {
			s.log.Error("people could not be told", "way", w.Name, "error", errs[i])
			failed = append(failed, w.Name)
			continue
		}
		told = append(told, w.Name)
	}
	return told, failed
}

func (s *Sender) send(ctx context.Context, w config.Notify, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if w.Command != nil {
		_, err := command.Run(ctx, command.Spec{
			Argv: w.Command.Argv, Dir: w.Command.Dir, Env: w.Command.Env, Timeout: w.Command.Timeout, Stdin: body,
		})
		return err
	}
	url, err := config.Resolve(w.URL)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("notify %s: the URL cannot be used", w.Name) // the error would show the URL, which may hold a secret
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("notify %s: no answer from the server", w.Name)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode >= 300 {
		return fmt.Errorf("notify %s: the server answered %s", w.Name, resp.Status)
	}
	return nil
}
