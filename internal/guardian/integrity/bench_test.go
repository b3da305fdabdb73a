package integrity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// BenchmarkVerify verifies many small files, and few big ones; test/peers has the same beside others.
func BenchmarkVerify(b *testing.B) {
	for _, c := range []struct{ files, size int }{{10_000, 16 << 10}, {4, 64 << 20}} {
		b.Run(fmt.Sprintf("%d files of %d kB", c.files, c.size>>10), func(b *testing.B) {
			tree := filepath.Join(b.TempDir(), "tree")
			content := make([]byte, c.size)
			for i := range c.files {
				folder := filepath.Join(tree, fmt.Sprint(i%100))
				require.NoError(b, os.MkdirAll(folder, 0o755))
				require.NoError(b, os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), content, 0o644))
			}
			w, err := Open(Options{
				Rules: config.Integrity{Paths: []string{tree}, Every: time.Hour}, Dir: b.TempDir(),
				Found:  func(_ context.Context, f Finding) { b.Errorf("found %+v", f) },
				Record: func(context.Context, string, any) error { return nil },
			})
			require.NoError(b, err)
			w.nice = 0
			_, err = w.Verify(b.Context())
			require.NoError(b, err)
			b.SetBytes(int64(c.files * c.size))
			for b.Loop() {
				_, err := w.Verify(b.Context())
				require.NoError(b, err)
			}
		})
	}
}
