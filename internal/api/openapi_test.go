package api

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// openAPI is docs/openapi.yaml.
type openAPI struct {
	root map[string]any
	// seen counts the answers compared, by "METHOD path status".
	mu   sync.Mutex
	seen map[string]int
}

var readOnce = sync.OnceValues(func() (*openAPI, error) {
	data, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		return nil, err
	}
	d := &openAPI{seen: map[string]int{}}
	return d, yaml.Unmarshal(data, &d.root)
})

func readOpenAPI(t testing.TB) *openAPI {
	t.Helper()
	d, err := readOnce()
	require.NoError(t, err)
	return d
}

// resolve follows a reference, if v is one; keywords beside it are descriptions only.
func (d *openAPI) resolve(v any) map[string]any {
	m, _ := v.(map[string]any)
	for {
		ref, ok := m["$ref"].(string)
		if !ok {
			return m
		}
		var at any = d.root
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			next, ok := at.(map[string]any)[part]
			if !ok {
				panic("no " + ref)
			}
			at = next
		}
		m, _ = at.(map[string]any)
	}
}

// operations calls f for each operation of the document.
func (d *openAPI) operations(f func(method, path string, operation map[string]any)) {
	for path, item := range d.root["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			f(strings.ToUpper(method), path, operation.(map[string]any))
		}
	}
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

// find returns the operation of a request; a path without parameters is preferred.
func (d *openAPI) find(method, path string) (template string, operation map[string]any) {
	d.operations(func(m, p string, o map[string]any) {
		pattern := "^" + parameter.ReplaceAllString(strings.Replace(p, "{source}", ".+", 1), "[^/]+") + "$"
		if m == method && regexp.MustCompile(pattern).MatchString(path) && (template == "" || template < p) {
			template, operation = p, o
		}
	})
	return template, operation
}

// check fails the test when an answer is not what the document says. What is no route must be
// answered with a problem.
func (d *openAPI) check(t *testing.T, method, path string, rec *httptest.ResponseRecorder) {
	t.Helper()
	if method == "HEAD" {
		return
	}
	template, operation := d.find(method, path)
	response := d.resolve(map[string]any{"$ref": "#/components/responses/Problem"})
	if operation != nil {
		responses := operation["responses"].(map[string]any)
		one, ok := responses[strconv.Itoa(rec.Code)]
		if !ok {
			one, ok = responses["default"], rec.Code >= 400
		}
		require.True(t, ok, "%s %s answers %d, which is not documented: %s", method, template, rec.Code, rec.Body)
		response = d.resolve(one)
	}
	d.mu.Lock()
	d.seen[fmt.Sprintf("%s %s %d", method, template, rec.Code)]++
	d.mu.Unlock()

	content, hasContent := response["content"].(map[string]any)
	if !hasContent || rec.Code == 303 {
		return
	}
	kind, _, err := mime.ParseMediaType(rec.Header().Get("Content-Type"))
	require.NoError(t, err, "%s %s %d", method, path, rec.Code)
	if kind == "text/html" && rec.Code == 401 {
		return // what a browser gets anywhere without a login
	}
	media, ok := content[kind].(map[string]any)
	require.True(t, ok, "%s %s answers %d as %s, which is not documented: %s", method, template, rec.Code, kind, rec.Body)
	if strings.HasSuffix(kind, "json") {
		var v any
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &v), rec.Body)
		require.NoError(t, d.valid(media["schema"], v, "body"), "%s %s %d: %s", method, path, rec.Code, rec.Body)
	}
}

func TestRoutesAndDocumentAreTheSame(t *testing.T) {
	s := newStand(t)
	documented := map[string]string{}
	s.doc.operations(func(method, path string, o map[string]any) {
		access, _ := o["x-role"].(string)
		if security, ok := o["security"].([]any); ok && len(security) == 0 {
			access = "open"
		}
		documented[method+" "+path] = access
		require.NotEmpty(t, o["operationId"], path)
		require.NotEmpty(t, o["summary"], path)
	})
	real := map[string]string{}
	for _, r := range s.routes() {
		access := r.role.String()
		if r.role == open {
			access = "open"
		}
		path := strings.Replace(strings.TrimSuffix(r.path, "{$}"), "...}", "}", 1)
		real[r.method+" "+path] = access
	}
	require.Equal(t, documented, real)
}

func TestPathParametersAreDocumented(t *testing.T) {
	d := readOpenAPI(t)
	d.operations(func(method, path string, o map[string]any) {
		var names []string
		list, _ := o["parameters"].([]any)
		for _, p := range list {
			if one := d.resolve(p); one["in"] == "path" {
				names = append(names, "{"+one["name"].(string)+"}")
			}
		}
		require.Equal(t, parameter.FindAllString(path, -1), names, "%s %s", method, path)
	})
}
