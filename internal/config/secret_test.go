package config

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const withSecrets = `version: 1
host: test
components:
  - name: a
    checks:
      - name: one
        redis: {address: "localhost:1", username: u, password: hunter2}
      - name: two
        redis:
          address: localhost:1
          password: "hunter2"
      - name: three
        postgresql:
          dsn: postgres://user:hunter2@localhost/db
      - postgresql: {dsn: "host=h password=hunter2 user=x", query: SELECT 1}
      - http:
          url: http://user:hunter2@localhost/
          headers: {Authorization: Bearer hunter2, Accept: text/html}
golden:
  store: {s3: {endpoint: "https://localhost", bucket: b, access_key: hunter2, secret_key: "hunter2"}}
  encryption:
    recipients: [ssh-ed25519 AAAA]
    identity: hunter2
  sets:
    - name: a
      sources:
        - {name: p, postgres: {method: dump, dsn: "host=h password=hunter2"}}
        - {name: r, redis: {address: "localhost:1", password: hunter2}}
forecast:
  prometheus: {url: "https://user:hunter2@localhost", token: hunter2}
notify:
  - url: https://user:hunter2@example.org/
`

// TestTyposShowNoSecrets removes, doubles or replaces each character of a file outside its
// secrets; whatever is wrong then, no message repeats a secret.
func TestTyposShowNoSecrets(t *testing.T) {
	source := []byte(withSecrets)
	_, err := Parse("shivx.yaml", source, testKnown)
	require.NoError(t, err)
	leaks, wrong := 0, 0
	for i := range source {
		if bytes.Contains(source[max(0, i-6):min(len(source), i+7)], []byte("hunter2")) {
			continue
		}
		for _, replacement := range []string{"", "x", "\"", ":", "{", "\n"} {
			broken := bytes.Join([][]byte{source[:i], []byte(replacement), source[i+1:]}, nil)
			_, err := Parse("shivx.yaml", broken, testKnown)
			var errs *Errors
			if !errors.As(err, &errs) {
				continue
			}
			wrong++
			var b bytes.Buffer
			require.NoError(t, errs.Format(&b, broken))
			if bytes.Contains(b.Bytes(), []byte("hunter2")) && leaks < 10 {
				leaks++
				assert.Fail(t, "a secret is printed", "%s", b.String())
			}
		}
	}
	assert.Greater(t, wrong, 1500)
}
