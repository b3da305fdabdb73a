package ledger

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func fileLines(t testing.TB, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// TestStolenKeyCannotResignThePast takes the key as it is after the third head, changes a record
// that a head covers, recomputes the chain and signs whatever the stolen key can sign.
func TestStolenKeyCannotResignThePast(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	for i := range 3 {
		appendN(t, l, 10*i, 10)
		_, err := l.Sign(t.Context())
		require.NoError(t, err)
	}
	s := sample{path: path}.copy(t)
	stolen, err := readKey(s.path + ".key")
	require.NoError(t, err)
	for _, line := range fileLines(t, s.path+".heads") {
		h, valid, err := parseHead([]byte(line))
		require.NoError(t, err)
		require.True(t, valid)
		require.NotContains(t, []string{public(stolen.Seed), public(stolen.Next)}, h.Key, "a key that has signed is erased")
	}
	thief := func(t *testing.T, heads int) sample {
		s := s.copy(t)
		s.rewrite(t, 4)
		s.cutHeads(t, heads)
		return s
	}
	t.Run("keep the old heads and sign a new one", func(t *testing.T) {
		s := thief(t, 4)
		l := open(t, s.path, Options{})
		appendN(t, l, 30, 1)
		require.NoError(t, l.Close())
		require.True(t, kinds(verify(t, s.path, VerifyOptions{}))[KindRewritten])
	})
	t.Run("drop the heads over the changed record and go on", func(t *testing.T) {
		s := thief(t, 1)
		l := open(t, s.path, Options{})
		appendN(t, l, 30, 1)
		require.NoError(t, l.Close())
		require.True(t, kinds(verify(t, s.path, VerifyOptions{}))[KindHeadsMissing])
	})
	t.Run("pretend that the stolen key is of the dropped head's epoch", func(t *testing.T) {
		s := thief(t, 1)
		k := stolen
		k.Epoch = 1
		require.NoError(t, writeKey(s.path+".key", k))
		require.True(t, kinds(verify(t, s.path, VerifyOptions{}))[KindSignature], "before it signs")
		l := open(t, s.path, Options{})
		appendN(t, l, 30, 1)
		require.NoError(t, l.Close())
		require.True(t, kinds(verify(t, s.path, VerifyOptions{}))[KindSignature])
	})
	t.Run("start anew with the stolen key as genesis", func(t *testing.T) {
		s := thief(t, 0)
		k := stolen
		k.Epoch, k.Genesis = 0, public(k.Seed)
		require.NoError(t, writeKey(s.path+".key", k))
		l := open(t, s.path, Options{})
		require.NoError(t, l.Close())
		trusted := VerifyOptions{Trusted: []string{stolen.Genesis}}
		require.True(t, kinds(verify(t, s.path, trusted))[KindGenesis])
	})
}

// TestCrashInKeyChange puts files back as they are at each step of a key change.
func TestCrashInKeyChange(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	appendN(t, l, 0, 5)
	before := sample{path: path}.copy(t)
	_, err := l.Sign(t.Context())
	require.NoError(t, err)
	after := sample{path: path}.copy(t)
	require.NoError(t, l.Close())
	line := fileLines(t, after.path+".heads")[1] + "\n"
	read := func(p string) string {
		data, err := os.ReadFile(p)
		require.NoError(t, err)
		return string(data)
	}
	oldKey, newKey := read(before.path+".key"), read(after.path+".key")
	oldHeads, newHeads := read(before.path+".heads"), read(after.path+".heads")
	tests := []struct{ name, heads, key, tmp string }{
		{"head half written", oldHeads + line[:len(line)/2], oldKey, ""},
		{"head written but for its newline", oldHeads + line[:len(line)-1], oldKey, ""},
		{"head written, key not yet changed", newHeads, oldKey, ""},
		{"next key half written", newHeads, oldKey, newKey[:20]},
		{"next key written, not yet renamed", newHeads, oldKey, newKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := before.copy(t)
			require.NoError(t, os.WriteFile(s.path+".heads", []byte(tt.heads), 0o640))
			require.NoError(t, os.WriteFile(s.path+".key", []byte(tt.key), 0o600))
			if tt.tmp != "" {
				require.NoError(t, os.WriteFile(s.path+".key.tmp", []byte(tt.tmp), 0o600))
			}
			rep := verify(t, s.path, VerifyOptions{})
			require.True(t, rep.OK, "before the repair: %+v", rep.Findings)
			l := open(t, s.path, Options{})
			appendN(t, l, 5, 3)
			require.NoError(t, l.Close())
			rep = verify(t, s.path, VerifyOptions{})
			require.True(t, rep.OK, "after the repair: %+v", rep.Findings)
			require.EqualValues(t, 8, rep.Signed)
			require.NoFileExists(t, s.path+".key.tmp")
		})
	}
}

func TestLostKeyIsSaidLoudly(t *testing.T) {
	for _, damage := range []string{"removed", "unreadable"} {
		s := newSample(t, 10, 0)
		if damage == "removed" {
			require.NoError(t, os.Remove(s.path+".key"))
		} else {
			require.NoError(t, os.WriteFile(s.path+".key", []byte("{"), 0o600))
		}
		require.True(t, kinds(verify(t, s.path, VerifyOptions{}))[KindKeyMissing])
		require.False(t, kinds(verify(t, s.path, VerifyOptions{Copy: true}))[KindKeyMissing])
		l := open(t, s.path, Options{})
		appendN(t, l, 10, 5)
		fresh := l.Genesis()
		require.NoError(t, l.Close())
		require.NotEqual(t, s.witness[0].Genesis, fresh)
		require.True(t, kinds(verify(t, s.path, VerifyOptions{}))[KindGenesis])
		both := VerifyOptions{Trusted: []string{s.witness[0].Genesis, fresh}, Witness: s.witness}
		rep := verify(t, s.path, both)
		require.True(t, rep.OK, "with both keys trusted: %+v", rep.Findings)
		require.EqualValues(t, 16, rep.Signed, "the notice of the new genesis is a record too")
	}
}

func TestHeadIsHandedToTheWitnessInOrder(t *testing.T) {
	s := newSample(t, 30, 0)
	require.Len(t, s.witness, 4)
	for i, h := range s.witness {
		require.EqualValues(t, i, h.Epoch)
		require.EqualValues(t, 10*i, h.Seq)
		if i > 0 {
			require.Equal(t, s.witness[i-1].Next, h.Key)
		}
	}
	require.Equal(t, s.witness[0].Key, s.witness[0].Genesis)
}
