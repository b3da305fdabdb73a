package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Values of headers; they are shared, so that setting them makes no garbage.
var (
	typeJSON    = []string{"application/json"}
	typeProblem = []string{"application/problem+json"}
	noStore     = []string{"no-store"}
	noSniff     = []string{"nosniff"}
)

// problemDocument is what RFC 9457 describes.
type problemDocument struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Message is for bouncers alone (lapi.go).
	Message string `json:"message,omitempty"`
}

// problem answers with an RFC 9457 document that its title tells all about.
func problem(w http.ResponseWriter, status int, title, detail string) {
	problemOf(w, problemDocument{Type: "about:blank", Title: title, Status: status, Detail: detail})
}

// problemOf answers with an RFC 9457 document whose type programs tell apart.
func problemOf(w http.ResponseWriter, p problemDocument) {
	if _, ok := w.(bouncerWriter); ok {
		p.Message = p.Title
	}
	body, err := json.Marshal(p)
	if err != nil { // cannot be: strings and a number
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	write(w, p.Status, typeProblem, append(body, '\n'))
}

// answer encodes v before the first byte is sent, so that what cannot be encoded is an error.
func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.log.Error("an answer could not be encoded", "error", err)
		problem(w, http.StatusInternalServerError, "the answer could not be encoded", "the agent's log says more")
		return
	}
	write(w, status, typeJSON, append(body, '\n'))
}

func write(w http.ResponseWriter, status int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	w.WriteHeader(status)
	// The client is gone when this fails; there is nobody to tell.
	_, _ = w.Write(body) //nolint:gosec // JSON, pages of html/template, pictures whose texts are escaped; none is sniffed
}

// maxBody is the largest JSON body of our own routes, in bytes; an alert's may be larger.
const maxBody = 64 << 10

// decode reads the only JSON value of a body into v and refuses unknown fields.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read the body: there is more than one JSON value")
	}
	return nil
}
