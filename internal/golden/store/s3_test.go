package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func noise(seed uint64, n int) []byte {
	data := make([]byte, n)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

func readObject(t testing.TB, b Backend, name string) []byte {
	t.Helper()
	o, err := b.Open(t.Context(), name)
	require.NoError(t, err)
	defer o.Close()
	data := make([]byte, o.Size())
	_, err = io.ReadFull(io.NewSectionReader(o, 0, o.Size()), data)
	require.NoError(t, err)
	return data
}

func namesOf(t testing.TB, b Backend, prefix string) []string {
	t.Helper()
	names := []string{}
	for info, err := range b.List(t.Context(), prefix) {
		require.NoError(t, err)
		names = append(names, info.Name)
	}
	return names
}

func TestS3KeepsObjectsOfAllSizes(t *testing.T) {
	s := startS3(t)
	b := openS3(t, s.options(t, s.addr))
	ctx := t.Context()
	for i, size := range []int{0, 1, tailSize - 1, tailSize, tailSize + 1, s3PartSize, s3PartSize + 1, 3*s3PartSize + 12345} {
		data, name := noise(uint64(i), size), fmt.Sprintf("packs/%02d/object.pack", i)
		require.NoError(t, publish(ctx, b, name, data), "%d bytes", size)
		require.True(t, bytes.Equal(data, readObject(t, b, name)), "%d bytes come back", size)

		require.ErrorIs(t, publish(ctx, b, name, []byte("other")), fs.ErrExist)
		require.ErrorIs(t, publish(ctx, b, name, noise(99, s3PartSize+1)), fs.ErrExist)
		require.True(t, bytes.Equal(data, readObject(t, b, name)), "a pack is never overwritten")
	}
	require.NoError(t, publish(ctx, b, "goldens/etc/1.golden", []byte("old")))
	require.NoError(t, publish(ctx, b, "goldens/etc/1.golden", []byte("new")))
	require.Equal(t, "new", string(readObject(t, b, "goldens/etc/1.golden")), "a golden is replaced")

	_, err := b.Open(ctx, "packs/none.pack")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, b.Remove(ctx, "packs/none.pack"))
	left, err := os.ReadDir(b.opts.TempDir)
	require.NoError(t, err)
	require.Empty(t, left, "nothing stays in the folder for temporary files")
}

func TestS3ReadsAnywhere(t *testing.T) {
	s := startS3(t)
	b := openS3(t, s.options(t, s.addr))
	data := noise(1, 5<<20)
	require.NoError(t, publish(t.Context(), b, "packs/a.pack", data))
	o, err := b.Open(t.Context(), "packs/a.pack")
	require.NoError(t, err)
	defer o.Close()
	r := rand.New(rand.NewPCG(1, 2))
	at := 0
	for range 200 {
		if r.IntN(3) == 0 {
			at = r.IntN(len(data) + 100)
		}
		p := make([]byte, 1+r.IntN(60_000))
		n, err := o.ReadAt(p, int64(at))
		if at+len(p) > len(data) {
			require.ErrorIs(t, err, io.EOF)
			require.Equal(t, max(0, len(data)-at), n)
		} else {
			require.NoError(t, err)
		}
		if n > 0 {
			require.True(t, bytes.Equal(data[at:at+n], p[:n]), "%d bytes at %d", n, at)
		}
		at += n
	}
}

func TestS3ListsAndRemovesManyPages(t *testing.T) {
	s := startS3(t)
	b := openS3(t, s.options(t, s.addr))
	ctx := t.Context()
	want := []string{}
	for i := range 2345 {
		name := fmt.Sprintf("packs/%02x/%05d.pack", i%7, i)
		path := filepath.Join(s.dir, "data", testBucket, "hosts/a", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(name), 0o600))
	}
	for folder := range 7 {
		for i := folder; i < 2345; i += 7 {
			want = append(want, fmt.Sprintf("packs/%02x/%05d.pack", folder, i))
		}
	}
	require.NoError(t, publish(ctx, b, "golden.json", []byte("{}")))
	other := openS3(t, func() S3Options { o := s.options(t, s.addr); o.Prefix = "hosts/ab"; return o }())
	require.NoError(t, publish(ctx, other, "golden.json", []byte("{}")))

	require.Equal(t, want, namesOf(t, b, "packs/"))
	require.Equal(t, append([]string{"golden.json"}, want...), namesOf(t, b, ""))
	require.Equal(t, []string{"golden.json"}, namesOf(t, other, ""), "another prefix is another store")
	for info, err := range b.List(ctx, "packs/") { // who has seen enough may leave
		require.NoError(t, err)
		require.EqualValues(t, len(info.Name), info.Size)
		break
	}
	require.NoError(t, b.Remove(ctx, want[:2300]...))
	require.Equal(t, want[2300:], namesOf(t, b, "packs/"))
}

func TestS3StoreIsBackedUpAndRead(t *testing.T) {
	s := startS3(t)
	b := openS3(t, s.options(t, s.addr))
	st := newLab(t, b)
	g := st.backup(t, "etc", map[string][]byte{"/etc/a": noise(1, 3<<20), "/etc/b": []byte("b")})
	require.NoError(t, g.Check(t.Context(), nil, nil))
	again, err := Open(t.Context(), openS3(t, s.options(t, s.addr)), st.options)
	require.NoError(t, err)
	g, err = again.Find(t.Context(), "latest")
	require.NoError(t, err)
	require.NoError(t, g.Check(t.Context(), nil, nil))
	require.Empty(t, namesOf(t, b, locksDir), "no lock is left")
}

func TestS3SpeaksTLS(t *testing.T) {
	cert, key := certificate(t, t.TempDir())
	s := startS3(t, "--cert", cert, "--key", key)
	o := s.options(t, s.addr)
	o.Endpoint = "https://" + s.addr
	_, err := OpenS3(t.Context(), o)
	require.ErrorContains(t, err, "certificate")
	require.Contains(t, shivx.HintOf(err), "give the certificate of its CA")

	o.CA, err = os.ReadFile(cert)
	require.NoError(t, err)
	b := openS3(t, o)
	data := noise(1, s3PartSize+5)
	require.NoError(t, publish(t.Context(), b, "packs/a.pack", data))
	require.True(t, bytes.Equal(data, readObject(t, b, "packs/a.pack")))

	o.CA = []byte("none")
	_, err = OpenS3(t.Context(), o)
	require.ErrorContains(t, err, "holds no certificate")
}

func TestS3ErrorsSayWhatToDo(t *testing.T) {
	s := startS3(t)
	cases := []struct {
		name   string
		change func(*S3Options)
		hint   string
	}{
		{"access key", func(o *S3Options) { o.AccessKey = "nobody" }, "does not know the access key"},
		{"secret key", func(o *S3Options) { o.SecretKey = "wrong" }, "the secret key is wrong"},
		{"bucket", func(o *S3Options) { o.Bucket = "no-such-bucket" }, "make the bucket no-such-bucket"},
		{"region", func(o *S3Options) { o.Region = "us-west-7" }, "region"},
		{"name", func(o *S3Options) { o.Endpoint = "http://s3.invalid" }, "the name s3.invalid is not known"},
		{"port", func(o *S3Options) { o.Endpoint = "http://127.0.0.1:1"; o.Retry = 1 }, "cannot be reached"},
		{"no TLS", func(o *S3Options) { o.Endpoint = "https://" + s.addr }, "does not speak TLS"},
		{"URL", func(o *S3Options) { o.Endpoint = "s3.example.com" }, "write it as https://"},
		{"bucket in URL", func(o *S3Options) { o.Endpoint = "https://s3.example.com/goldens" }, "settings of their own"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := s.options(t, s.addr)
			c.change(&o)
			_, err := OpenS3(t.Context(), o)
			require.Error(t, err)
			require.Contains(t, shivx.HintOf(err), c.hint, "of %v", err)
			require.NotContains(t, err.Error(), testSecret)
		})
	}
}
