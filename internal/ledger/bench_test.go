package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkAppend measures acknowledged appends by 1, 16 and 256 writers. Its peer "raw" writes the
// same bytes in batches of the same size, each with one fdatasync and nothing else: the limit of
// the disk with that many writers waiting for each other.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchmarkAppend(b, writers) })
		b.Run(fmt.Sprintf("raw=%d", writers), func(b *testing.B) { benchmarkRaw(b, writers) })
	}
}

func benchmarkAppend(b *testing.B, writers int) {
	l := open(b, tempLedger(b), Options{MaxBytes: 1 << 40})
	e := eventOf(1)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := l.Append(context.Background(), "", &e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

func benchmarkRaw(b *testing.B, writers int) {
	l := open(b, tempLedger(b), Options{})
	r, err := l.Append(context.Background(), "", eventOf(1))
	require.NoError(b, err)
	f, err := os.Create(tempLedger(b))
	require.NoError(b, err)
	defer f.Close()
	batch := bytes.Repeat(append(r.Raw, '\n'), writers)
	b.ResetTimer()
	for n := 0; n < b.N; n += writers {
		_, err := f.Write(batch)
		require.NoError(b, err)
		require.NoError(b, fdatasync(f))
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// BenchmarkVerify checks a million records. Its peer "raw" reads the same file and computes one
// SHA-256 over it on one core.
func BenchmarkVerify(b *testing.B) {
	const records, writers = 1_000_000, 500
	path := tempLedger(b)
	l := open(b, path, Options{MaxBytes: 1 << 40})
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range records / writers {
				if _, err := l.Append(context.Background(), "", eventOf(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(b, l.Close())
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(info.Size())
		for b.Loop() {
			rep := verify(b, path, VerifyOptions{})
			require.True(b, rep.OK)
			require.EqualValues(b, records, rep.Records)
		}
		b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("raw", func(b *testing.B) {
		b.SetBytes(info.Size())
		for b.Loop() {
			f, err := os.Open(path)
			require.NoError(b, err)
			_, err = io.Copy(sha256.New(), f)
			require.NoError(b, err)
			require.NoError(b, f.Close())
		}
		b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			l, err := Open(path, Options{})
			require.NoError(b, err)
			require.NoError(b, l.Close())
		}
	})
}
