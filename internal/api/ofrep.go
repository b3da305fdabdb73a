package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/shivx/shivx"
)

// The OpenFeature Remote Evaluation Protocol, version 0.3, for boolean flags: every feature is one.
// https://github.com/open-feature/protocol/blob/main/service/openapi.yaml

// evaluation is the protocol's evaluation of one flag.
type evaluation struct {
	Key      string             `json:"key"`
	Value    bool               `json:"value"`
	Reason   string             `json:"reason"`
	Variant  string             `json:"variant"`
	Metadata evaluationMetadata `json:"metadata"`
}

type evaluationMetadata struct {
	Level shivx.Level `json:"level"`
	Why   string      `json:"why"`
}

type bulkSuccess struct {
	Flags    []evaluation `json:"flags"`
	Metadata bulkMetadata `json:"metadata"`
}

type bulkMetadata struct {
	Host  string      `json:"host"`
	Level shivx.Level `json:"level"`
}

// failure is the protocol's answer when a flag cannot be evaluated.
type failure struct {
	Key       string `json:"key,omitempty"`
	ErrorCode string `json:"errorCode"`
	Details   string `json:"errorDetails"`
}

// The reasons and error codes of the protocol used here.
const (
	// reasonStatic: the value is the same whatever happens; a client may keep it for good.
	reasonStatic = "STATIC"
	// reasonMatch: a rule gave the value, here the level. Not DISABLED: by the protocol that tells a
	// client to take its own default, and "off" must reach the application.
	reasonMatch = "TARGETING_MATCH"

	codeNotFound       = "FLAG_NOT_FOUND"
	codeParse          = "PARSE_ERROR"
	codeInvalidContext = "INVALID_CONTEXT"
	codeGeneral        = "GENERAL"
)

func evaluationOf(f shivx.Feature, l shivx.Level) evaluation {
	e := evaluation{Key: f.Name, Value: f.Enabled, Reason: reasonMatch, Variant: "off", Metadata: evaluationMetadata{l, f.Reason}}
	if f.OffAt == "" {
		e.Reason = reasonStatic
	}
	if f.Enabled {
		e.Variant = "on"
	}
	return e
}

// evaluate answers an evaluation of one flag. The context is checked and not used: features depend
// on the host, not on who asks.
func (s *Server) evaluate(w http.ResponseWriter, r *http.Request, _ holder) {
	key := r.PathValue("key")
	e := s.flags(w, r, key)
	if e == nil {
		return
	}
	body, ok := e.ofrep[key]
	if !ok {
		s.answer(w, http.StatusNotFound, failure{key, codeNotFound, "resilience.features in the agent's configuration has no feature of this name"})
		return
	}
	write(w, http.StatusOK, typeJSON, body)
}

// evaluateAll answers an evaluation of all flags.
func (s *Server) evaluateAll(w http.ResponseWriter, r *http.Request, _ holder) {
	if e := s.flags(w, r, ""); e != nil {
		e.bulk.serve(w, r)
	}
}

// flags reads the request and returns the answers; nil when it is answered with an error, which
// is an OFREP one, because the SDKs understand no other.
func (s *Server) flags(w http.ResponseWriter, r *http.Request, key string) *encoded {
	if code, err := checkContext(r.Body); err != nil {
		s.answer(w, http.StatusBadRequest, failure{key, code, err.Error()})
		return nil
	}
	if s.parts.Resilience == nil {
		s.answer(w, http.StatusInternalServerError, failure{key, codeGeneral, "the host's level is not available"})
		return nil
	}
	return s.answers()
}

// bodies are buffers for requests.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// checkContext reads an evaluation request: one JSON object, if any, whose "context" is an object.
// What else it has is left to future versions of the protocol.
func checkContext(body io.Reader) (code string, err error) {
	if body == http.NoBody {
		return "", nil
	}
	b, _ := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(io.LimitReader(body, maxBody+1)); err != nil {
		return codeParse, fmt.Errorf("read the request: %w", err)
	}
	raw := bytes.TrimSpace(b.Bytes())
	switch {
	case len(raw) == 0:
		return "", nil
	case b.Len() > maxBody:
		return codeParse, fmt.Errorf("the request is larger than %d bytes", maxBody)
	case !json.Valid(raw):
		return codeParse, errors.New("the request is not JSON")
	case raw[0] != '{':
		return codeParse, errors.New("the request is not an object")
	}
	if c := member(raw, "context"); c != 0 && c != '{' && c != 'n' {
		return codeInvalidContext, errors.New("the context is not an object")
	}
	return "", nil
}

// member returns the first byte of the value of a key of a valid JSON object; 0 without the key.
// It saves decoding a context nobody looks at, which would cost most of the answer's time.
func member(object []byte, key string) byte {
	depth, isKey := 0, false
	for i := 0; i < len(object); i++ {
		switch c := object[i]; c {
		case '{', '[':
			depth++
			isKey = depth == 1
		case '}', ']':
			depth--
		case ',':
			isKey = depth == 1
		case '"':
			end := closing(object, i)
			if isKey && means(object[i:end+1], key) {
				return bytes.TrimLeft(object[end+1:], ": \t\r\n")[0]
			}
			i, isKey = end, false
		}
	}
	return 0
}

// means says whether a JSON string, in its quotes, is text; it may be written with escapes.
func means(quoted []byte, text string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == text
	}
	var read string
	return json.Unmarshal(quoted, &read) == nil && read == text
}

// closing returns the index of the quote that ends the string beginning at start.
func closing(object []byte, start int) int {
	for i := start + 1; ; i++ {
		switch object[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
}
