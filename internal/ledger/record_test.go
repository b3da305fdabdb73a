package ledger

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestStoredLine(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	first, err := l.Append(t.Context(), "a<\"b\\", map[string]any{"text": "x > y \u2028 \"q\"", "n": 1})
	require.NoError(t, err)
	second, err := l.Append(t.Context(), "", struct{}{})
	require.NoError(t, err)

	body := `{"seq":1,"prev":"` + strings.Repeat("0", 64) + `","n":1,"text":"x > y \u2028 \"q\"","key":"a<\"b\\"`
	require.Equal(t, fmt.Sprintf(`%s,"hash":"%x"}`, body, sha256.Sum256([]byte(body))), string(first.Raw))
	require.Equal(t, `a<"b\`, first.Key)
	body = `{"seq":2,"prev":"` + first.Hash + `"`
	require.Equal(t, fmt.Sprintf(`%s,"hash":"%x"}`, body, sha256.Sum256([]byte(body))), string(second.Raw))
	require.Equal(t, []Record{first, second}, readAll(t, path))
	var fields struct {
		N    int
		Hash string
	}
	require.NoError(t, first.Decode(&fields))
	require.Equal(t, first.Hash, fields.Hash)
}

func TestRefusedFields(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	tests := []struct {
		name   string
		key    string
		fields any
		want   string
	}{
		{"no object", "", 1, "JSON object"},
		{"array", "", []int{1}, "JSON object"},
		{"nil", "", nil, "JSON object"},
		{"seq", "", map[string]int{"seq": 1}, `"seq"`},
		{"hash in capitals", "", map[string]int{"a": 1, "HASH": 1}, `"HASH"`},
		{"escaped key", "", json.RawMessage(`{"a":{"b":[1]},"\u006bey":1}`), `"key"`},
		{"prev after strings", "", json.RawMessage(`{"a":"\",{[","prev":1}`), `"prev"`},
		{"cannot be encoded", "", map[string]any{"f": func() {}}, "encode fields"},
		{"not UTF-8", "", json.RawMessage("{\"a\":\"\xff\"}"), "UTF-8"},
		{"key not UTF-8", "\xff", struct{}{}, "UTF-8"},
		{"key too long", strings.Repeat("k", maxKey+1), struct{}{}, "longer"},
		{"too big", "", map[string]string{"a": strings.Repeat("x", MaxRecord)}, "over the limit"},
	}
	for _, tt := range tests {
		_, err := l.Append(t.Context(), tt.key, tt.fields)
		require.ErrorContains(t, err, tt.want, tt.name)
	}
	_, err := l.Append(t.Context(), "", tests[len(tests)-1].fields)
	require.NotEmpty(t, shivx.HintOf(err))
	_, err = l.Append(t.Context(), "", json.RawMessage(`{"a":{"seq":1,"hash":[{"prev":2}]},"b":["key"],"c":"hash"}`))
	require.NoError(t, err, "the names are free below the first level and as values")
	require.Len(t, readAll(t, path), 1)
}

func TestBiggestRecordAndLongLines(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	size := MaxRecord - frontSize - backSize - len(keyMark) - len(`"a":""`)
	big, err := l.Append(t.Context(), "", map[string]string{"a": strings.Repeat("x", size)})
	require.NoError(t, err)
	appendN(t, l, 1, 1)
	require.NoError(t, l.Close())
	recs := readAll(t, path)
	require.Len(t, recs, 2)
	require.Equal(t, big, recs[0])
	require.True(t, verify(t, path, VerifyOptions{}).OK)

	lines := fileLines(t, path)
	writeLines(t, path, []string{lines[0], strings.Repeat("y", 3*chunkSize/2), lines[1]})
	rep := verify(t, path, VerifyOptions{})
	require.Len(t, rep.Findings, 1, "%+v", rep.Findings)
	require.Equal(t, KindInserted, rep.Findings[0].Kind)
	require.EqualValues(t, 2, rep.Findings[0].Line)
	require.ErrorIs(t, Read(path, 0, func(Record) error { return nil }), ErrDamaged)
	tail, err := Tail(path, 5)
	require.NoError(t, err)
	require.Equal(t, recs, tail)
	l = open(t, path, Options{})
	require.EqualValues(t, 3, appendN(t, l, 2, 1)[0].Seq)
}

// TestVerifyAcrossChunks has lines of all sizes lie over the borders of chunks.
func TestVerifyAcrossChunks(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	for i := range 40 {
		_, err := l.Append(t.Context(), "", map[string]string{"a": strings.Repeat("x", i*i*450)})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	var last int64
	rep := verify(t, path, VerifyOptions{Progress: func(done, total int64) {
		if done == total {
			last = total
		}
	}})
	require.True(t, rep.OK, "%+v", rep.Findings)
	require.EqualValues(t, 40, rep.Records)
	require.Greater(t, rep.Bytes, int64(2*chunkSize))
	require.Equal(t, rep.Bytes, last)
}

func FuzzParseLine(f *testing.F) {
	hash := strings.Repeat("0a", 32)
	f.Add([]byte(`{"seq":1,"prev":"` + hash + `","hash":"` + hash + `"}`))
	f.Add([]byte(`{"seq":18446744073709551615,"prev":"` + hash + `","a":"\"","key":"k\\\"","hash":"` + hash + `"}`))
	f.Add([]byte(`{"seq":01,"prev":"` + hash + `","hash":"` + hash + `"}`))
	f.Add([]byte(`{"seq":7,"prev":"` + strings.ToUpper(hash) + `","hash":"` + hash + `"}`))
	f.Add([]byte(`{"seq":`))
	f.Fuzz(func(t *testing.T, line []byte) {
		v, ok := parseLine(line)
		if valid := json.Valid(line) && len(line) > 0 && line[0] == '{'; validObject(line) != valid {
			t.Fatalf("validObject(%q) = %v", line, !valid)
		}
		if !ok {
			return
		}
		want := fmt.Sprintf(`{"seq":%d,"prev":"%s"%s,"hash":"%s"}`, v.seq, v.prev, line[v.front:v.hashed], v.hash)
		if want != string(line) {
			t.Fatalf("parsed %q as %q", line, want)
		}
		r := toRecord(line, v)
		var fields struct {
			Seq             uint64
			Prev, Hash, Key string
		}
		if !json.Valid(line) || r.Decode(&fields) != nil || checkObject([]byte("{"+strings.TrimPrefix(string(line[v.front:v.hashed]), ",")+"}")) == nil {
			return
		}
		if strings.Count(string(line), `"key"`) == 1 && r.Key != "" && fields.Key != r.Key {
			t.Fatalf("key of %q is %q, not %q", line, fields.Key, r.Key)
		}
	})
}

func TestValidObjectAgreesWithTheStandardLibrary(t *testing.T) {
	for _, s := range []string{
		``, `{}`, `{ }`, ` {}`, `{} `, `{}x`, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `[]`, `1`,
		`{"a":[1,2,{"b":null}], "c" : true , "d":false}`, `{"a":[1,]}`, `{"a":[}`, `{"a":-}`, `{"a":-0}`, `{"a":00}`,
		`{"a":1.}`, `{"a":1.5e+3}`, `{"a":1e}`, `{"a":.5}`, `{"a":nul}`, `{"a":"\u12G4"}`, `{"a":"\u12f4"}`, `{"a":"\x"}`,
		"{\"a\":\"\t\"}", `{"a":"`, `{"a":"\`, `{"a":"\u`, `{"a":tru`, `{"a":1 2}`, `{"a" 1}`, `{"a":[[[[]]]]}`,
		`{"a":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`,
		`{"a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
	} {
		want := json.Valid([]byte(s)) && strings.HasPrefix(s, "{")
		require.Equal(t, want, validObject([]byte(s)), "%.60s", s)
	}
}
