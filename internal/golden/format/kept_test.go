package format_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

var update = flag.Bool("update", false, "write testdata/v1 anew: only before a format is released")

const kept = "testdata/v1/"

// What format 1 wrote is read by every later version: testdata/v1 is never written again.
func TestWhatWasWrittenIsRead(t *testing.T) {
	if *update {
		writeKept(t)
	}
	text, err := os.ReadFile(kept + "identity.txt")
	require.NoError(t, err)
	identity, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	sealed, err := os.ReadFile(kept + "encrypted/key.age")
	require.NoError(t, err)
	key, err := age.Decrypt(bytes.NewReader(sealed), identity)
	require.NoError(t, err)
	var digits bytes.Buffer
	_, err = digits.ReadFrom(key)
	require.NoError(t, err)
	require.Len(t, digits.String(), 65)

	requireKept(t, kept+"plain", nil)
	requireKept(t, kept+"encrypted", bytes.Repeat([]byte{0xa5, 0x17}, 16))
	require.Equal(t, strings.Repeat("a517", 16)+"\n", digits.String())
}

func requireKept(t *testing.T, dir string, key []byte) {
	t.Helper()
	entries, blocks := readHandmade(t, dir, key)
	want := tree()
	require.Len(t, entries, len(want))
	for i, e := range entries {
		n := want[i]
		var data []byte
		for b := range e.BlockCount() {
			data = append(data, blocks[e.Block(b)]...)
		}
		require.True(t, bytes.Equal(n.data, data), e.Path)
		if e.Type == format.TypeFile {
			require.Equal(t, format.Sum(n.data), e.Sum)
			n.Sum, n.Blocks = e.Sum, e.Blocks
			n.Size = max(n.Size, int64(len(n.data)))
		}
		same(t, n.Entry, e)
	}
}

func writeKept(t *testing.T) {
	t.Helper()
	require.NoError(t, os.RemoveAll(kept))
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	buildTree(t, kept+"plain", nil)
	buildTree(t, kept+"encrypted", identity.Recipient())
	require.NoError(t, os.WriteFile(kept+"identity.txt", []byte(identity.String()+"\n"), 0o644))
}
