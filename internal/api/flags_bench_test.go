package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// sink takes an answer and forgets it.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// asker repeats one request without making a new one each time.
type asker struct {
	handler http.Handler
	request *http.Request
	body    *rewound
	sink    sink
}

// rewound is a body that can be read again and again.
type rewound struct {
	text string
	at   int
}

func (r *rewound) Read(p []byte) (int, error) {
	if r.at == len(r.text) {
		return 0, io.EOF
	}
	n := copy(p, r.text[r.at:])
	r.at += n
	return n, nil
}

func (r *rewound) Close() error { return nil }

func newAsker(tb testing.TB, method, path, body string) *asker {
	s := newStandFor(tb)
	a := &asker{handler: s.Handler(), request: httptest.NewRequest(method, path, nil), body: &rewound{text: body}, sink: sink{header: http.Header{}}}
	a.request.Host = s.Address()
	a.request.Header.Set("Authorization", "Bearer "+appToken)
	if body != "" {
		a.request.Body = a.body
	}
	return a
}

func (a *asker) ask(tb testing.TB) {
	clear(a.sink.header)
	a.body.at = 0
	a.handler.ServeHTTP(&a.sink, a.request)
	if a.sink.status != http.StatusOK {
		tb.Fatal(a.sink.status)
	}
}

const evaluationBody = `{"context":{"targetingKey":"user-17","plan":"pro"}}`

func BenchmarkFeature(b *testing.B) {
	for _, one := range []struct{ name, method, path, body string }{
		{"feature", "GET", "/api/features/web_search", ""},
		{"list", "GET", "/api/features", ""},
		{"ofrep", "POST", "/ofrep/v1/evaluate/flags/web_search", evaluationBody},
		{"ofrep-all", "POST", "/ofrep/v1/evaluate/flags", evaluationBody},
	} {
		a := newAsker(b, one.method, one.path, one.body)
		b.Run(one.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.ask(b)
			}
		})
	}
}

// TestAnswersMakeLittleGarbage: what an answer allocates is the path's parameter, which the
// standard library keeps for the handler; with the race detector a buffer more, now and then.
func TestAnswersMakeLittleGarbage(t *testing.T) {
	for _, a := range []*asker{
		newAsker(t, "GET", "/api/features/web_search", ""),
		newAsker(t, "POST", "/ofrep/v1/evaluate/flags/web_search", evaluationBody),
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { a.ask(t) }), 4.0, a.request.URL.Path)
	}
}
