package host

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/shivx/shivx/plugins/sdk"
)

// Sizes that what a plugin says is cut to, in bytes; its words end in workflow histories and on terminals.
const (
	maxLine    = 500
	maxMessage = 2000
	maxChanges = 200
)

// line makes text one line without control characters, cut to limit bytes.
func line(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r):
			return '\uFFFD'
		}
		return r
	}, text)
	return cut(strings.TrimSpace(text), limit)
}

// cut shortens text to limit bytes at a character boundary.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}

func cleanReply(r sdk.Reply) sdk.Reply {
	r.Summary = line(r.Summary, maxLine)
	var changes []string
	for i, c := range r.Changes {
		if i == maxChanges {
			changes = append(changes, fmt.Sprintf("… and %d more", len(r.Changes)-maxChanges))
			break
		}
		changes = append(changes, line(c, maxLine))
	}
	r.Changes = changes
	return r
}

func cleanDescription(d sdk.Description) sdk.Description {
	d.Name, d.Version = line(d.Name, maxLine), line(d.Version, maxLine)
	d.RecoveryType, d.Summary = line(d.RecoveryType, maxLine), line(d.Summary, maxLine)
	return d
}

// cleanError turns any error of a step into one that is, or wraps, a *sdk.Fail with clean text.
func cleanError(err error) error {
	fail := &sdk.Fail{Message: line(err.Error(), maxMessage), Err: err}
	if inner, ok := errors.AsType[*sdk.Fail](err); ok {
		fail.Hint, fail.Retryable = line(inner.Hint, maxLine), inner.Retryable
	}
	return fail
}

// limitProgress returns req.Progress as a function that lets 20 lines through at once and 10 a
// second from then on, so that a flood costs nothing.
func limitProgress(req sdk.Request) func(string) {
	const burst, perSecond = 20, 10
	var mu sync.Mutex
	tokens, last := float64(burst), time.Now()
	return func(text string) {
		mu.Lock()
		now := time.Now()
		tokens = min(burst, tokens+now.Sub(last).Seconds()*perSecond)
		last = now
		pass := tokens >= 1
		if pass {
			tokens--
		}
		mu.Unlock()
		if pass {
			req.Progress("%s", line(text, maxLine))
		}
	}
}
