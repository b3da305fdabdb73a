package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
)

// encoded are the answers of one snapshot.
type encoded struct {
	one   map[string][]byte
	ofrep map[string][]byte
	list  document
	bulk  document
}

// document is a body that clients may keep and ask for again by its tag.
type document struct {
	body []byte
	// etag is a hash of the body, in quotes.
	etag []string
}

// featureAnswer is what GET /api/features/{name} answers.
type featureAnswer struct {
	shivx.Feature
	// Level of the host when the feature was judged.
	Level shivx.Level `json:"level"`
}

// featuresAnswer is what GET /api/features answers.
type featuresAnswer struct {
	Host     string          `json:"host"`
	Level    shivx.Level     `json:"level"`
	Features []shivx.Feature `json:"features"`
}

// answers returns the answers of the snapshot in force, which are encoded once and kept with it.
func (s *Server) answers() *encoded {
	e, _ := s.parts.Resilience.Features().Encoded(s.encode).(*encoded)
	return e
}

func (s *Server) encode(snapshot *resilience.Snapshot) any {
	e := &encoded{one: map[string][]byte{}, ofrep: map[string][]byte{}}
	list := featuresAnswer{s.cfg.Host, snapshot.Level, []shivx.Feature{}}
	bulk := bulkSuccess{Flags: []evaluation{}, Metadata: bulkMetadata{s.cfg.Host, snapshot.Level}}
	for _, f := range snapshot.List {
		flag := evaluationOf(f, snapshot.Level)
		list.Features, bulk.Flags = append(list.Features, f), append(bulk.Flags, flag)
		e.one[f.Name] = line(featureAnswer{f, snapshot.Level})
		e.ofrep[f.Name] = line(flag)
	}
	e.list, e.bulk = newDocument(line(list)), newDocument(line(bulk))
	return e
}

// line encodes what cannot fail to be: structs of strings and booleans.
func line(v any) []byte {
	b, _ := json.Marshal(v)
	return append(b, '\n')
}

func newDocument(body []byte) document {
	hash := sha256.Sum256(body)
	return document{body, []string{`"` + hex.EncodeToString(hash[:16]) + `"`}}
}

// listFeatures answers with all features.
func (s *Server) listFeatures(w http.ResponseWriter, r *http.Request, _ holder) {
	if e := s.encoded(w); e != nil {
		e.list.serve(w, r)
	}
}

// feature answers whether one feature is on, and why.
func (s *Server) feature(w http.ResponseWriter, r *http.Request, _ holder) {
	e := s.encoded(w)
	if e == nil {
		return
	}
	body, ok := e.one[r.PathValue("name")]
	if !ok {
		problem(w, http.StatusNotFound, "there is no such feature", "GET /api/features lists them; resilience.features in the configuration has them")
		return
	}
	write(w, http.StatusOK, typeJSON, body)
}

// encoded is answers; nil when the request is answered with an error.
func (s *Server) encoded(w http.ResponseWriter) *encoded {
	if s.parts.Resilience == nil {
		missing(w, "the host's level")
		return nil
	}
	return s.answers()
}

// serve answers with the document, or with 304 when the client has it.
func (d document) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Etag"] = d.etag
	if known(r.Header["If-None-Match"], d.etag[0]) {
		h["Cache-Control"] = noStore
		w.WriteHeader(http.StatusNotModified)
		return
	}
	write(w, http.StatusOK, typeJSON, d.body)
}

// known says whether a list of tags, as in RFC 9110 section 13.1.2, has the tag.
func known(lists []string, etag string) bool {
	for _, list := range lists {
		for one := range strings.SplitSeq(list, ",") {
			if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == etag {
				return true
			}
		}
	}
	return false
}
