package integrity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// attack is one way to tamper with the baseline itself; it returns the file that must be found.
type attack struct {
	name string
	do   func(t *testing.T, v *vault) string
}

// vault is a baseline's folder as an attacker with all rights sees it.
type vault struct {
	dir    string
	random *mathrand.Rand
	// was has the files as they were, older an earlier baseline with its right signature.
	was   map[string][]byte
	older []byte
	key   ed25519.PrivateKey
}

func (v *vault) path(name string) string { return filepath.Join(v.dir, name) }

func (v *vault) put(t *testing.T, name string, data []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(v.path(name), data, 0o600))
	return name
}

// restore puts all back.
func (v *vault) restore(t *testing.T) {
	for name, data := range v.was {
		require.NoError(t, os.RemoveAll(v.path(name)))
		v.put(t, name, data)
	}
}

func (v *vault) lines() [][]byte { return bytes.SplitAfter(v.was[baselineName], []byte("\n")) }

// entryLine is the number of a random entry's line.
func (v *vault) entryLine() int { return 1 + v.random.IntN(len(v.lines())-3) }

// sign makes a valid baseline of changed content.
func (v *vault) sign(t *testing.T, key ed25519.PrivateKey, change func(b *baseline)) []byte {
	t.Helper()
	b, _, err := read(bytes.NewReader(v.was[baselineName]))
	require.NoError(t, err)
	change(b)
	var out bytes.Buffer
	_, err = b.write(&out, key)
	require.NoError(t, err)
	return out.Bytes()
}

func newKeyFile(t *testing.T) (ed25519.PrivateKey, []byte) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func attacks() []attack {
	forge := func(b *baseline, at int) { b.entries[at%len(b.entries)].mode ^= 1 << (at % 12) }
	return []attack{
		{"a bit", func(t *testing.T, v *vault) string {
			data := bytes.Clone(v.was[baselineName])
			data[v.random.IntN(len(data))] ^= 1 << v.random.IntN(8)
			return v.put(t, baselineName, data)
		}},
		{"a line left out", func(t *testing.T, v *vault) string {
			lines, i := v.lines(), v.entryLine()
			return v.put(t, baselineName, bytes.Join(append(lines[:i:i], lines[i+1:]...), nil))
		}},
		{"a line twice", func(t *testing.T, v *vault) string {
			lines, i := v.lines(), v.entryLine()
			return v.put(t, baselineName, bytes.Join(append(lines[:i:i], lines[i-1:]...), nil))
		}},
		{"cut off", func(t *testing.T, v *vault) string {
			return v.put(t, baselineName, v.was[baselineName][:v.random.IntN(len(v.was[baselineName]))])
		}},
		{"something appended", func(t *testing.T, v *vault) string {
			return v.put(t, baselineName, append(bytes.Clone(v.was[baselineName]), v.lines()[v.entryLine()]...))
		}},
		{"edited and signed with the right key", func(t *testing.T, v *vault) string {
			return v.put(t, baselineName, v.sign(t, v.key, func(b *baseline) { forge(b, v.random.Int()) }))
		}},
		{"edited and signed with another key in the key's place", func(t *testing.T, v *vault) string {
			key, file := newKeyFile(t)
			v.put(t, keyName, file)
			return v.put(t, baselineName, v.sign(t, key, func(b *baseline) { forge(b, v.random.Int()) }))
		}},
		{"a forged ticket for everything, signed", func(t *testing.T, v *vault) string {
			return v.put(t, baselineName, v.sign(t, v.key, func(b *baseline) {
				b.tickets = append(b.tickets, kept{Ticket: Ticket{ID: fmt.Sprint(v.random.Int()), Paths: []string{"/"}, Until: b.At.AddDate(1, 0, 0), By: "nobody"}})
			}))
		}},
		{"an older one, with its right signature", func(t *testing.T, v *vault) string { return v.put(t, baselineName, v.older) }},
		{"removed", func(t *testing.T, v *vault) string {
			require.NoError(t, os.Remove(v.path(baselineName)))
			return baselineName
		}},
		{"a link in its place", func(t *testing.T, v *vault) string {
			require.NoError(t, os.Rename(v.path(baselineName), v.path("elsewhere")))
			require.NoError(t, os.Symlink("elsewhere", v.path(baselineName)))
			return baselineName
		}},
		{"its rights", func(t *testing.T, v *vault) string {
			require.NoError(t, os.Chmod(v.path(baselineName), 0o666))
			return baselineName
		}},
		{"the key removed", func(t *testing.T, v *vault) string {
			require.NoError(t, os.Remove(v.path(keyName)))
			return keyName
		}},
		{"another key", func(t *testing.T, v *vault) string {
			_, file := newKeyFile(t)
			return v.put(t, keyName, file)
		}},
		{"a bit of the key", func(t *testing.T, v *vault) string {
			data := bytes.Clone(v.was[keyName])
			data[v.random.IntN(len(data)-30)] ^= 1 << v.random.IntN(8)
			return v.put(t, keyName, data)
		}},
		{"the key's rights", func(t *testing.T, v *vault) string {
			require.NoError(t, os.Chmod(v.path(keyName), 0o640))
			return keyName
		}},
	}
}

func TestMutationsOfTheBaselineAreAllFound(t *testing.T) {
	r := newRig(t)
	for i := range 12 {
		r.write(fmt.Sprintf("d%d/f%d", i%3, i), fmt.Sprint(i))
	}
	r.open()
	require.Empty(t, r.verify())
	v := &vault{dir: r.dir, random: mathrand.New(mathrand.NewPCG(7, 2026)), was: map[string][]byte{}, key: r.store.key}
	var err error
	v.older, err = os.ReadFile(v.path(baselineName))
	require.NoError(t, err)
	_, err = r.Rebase(t.Context(), "ops", "")
	require.NoError(t, err)
	for _, name := range []string{baselineName, keyName} {
		v.was[name], err = os.ReadFile(v.path(name))
		require.NoError(t, err)
	}
	all, counts := attacks(), map[string]int{}
	for n := range mutated {
		a := all[n%len(all)]
		name := a.do(t, v)
		want := "baseline " + name
		require.Contains(t, r.verify(), want, "%s (%d) while the agent runs", a.name, n)
		running := r.Watch
		require.Contains(t, r.open().verify(), want, "%s (%d) by a start after it", a.name, n)
		v.restore(t)
		require.Empty(t, r.verify())
		require.Zero(t, r.Status().Findings, "%s (%d) is resolved", a.name, n)
		require.True(t, r.Status().Trusted)
		r.Watch = running
		require.Empty(t, r.verify())
		counts[a.name]++
	}
	require.Len(t, counts, len(all))
	t.Logf("%d of %d found, twice each, over %d ways", mutated, mutated, len(all))
}
