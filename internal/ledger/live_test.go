package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestVerifyBesideAWriter verifies and reads again and again while a writer rotates and signs at a
// high rate: nothing that a writer does may look like an attack.
func TestVerifyBesideAWriter(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{MaxBytes: 40_000, HeadRecords: 1, HeadEvery: time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := l.Append(context.Background(), fmt.Sprintf("%d/%d", w, i), eventOf(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for round, segments := 0, 0; round < 40 || segments < 6; round++ {
		witness := l.Head()
		var o VerifyOptions
		if witness.Sig != "" {
			o.Witness = []Head{witness}
		}
		rep := verify(t, path, o)
		require.True(t, rep.OK, "%+v", rep.Findings)
		segments = rep.Segments
		last := uint64(0)
		require.NoError(t, Read(path, 1, func(r Record) error {
			if r.Seq != last+1 {
				return fmt.Errorf("record %d after %d", r.Seq, last)
			}
			last = r.Seq
			return nil
		}))
		require.GreaterOrEqual(t, last, rep.LastSeq)
		tail, err := Tail(path, 3)
		require.NoError(t, err)
		for i := 1; i < len(tail); i++ {
			require.Equal(t, tail[i-1].Hash, tail[i].Prev)
		}
	}
	stop()
	writers.Wait()
	require.NoError(t, l.Close())
	rep := verify(t, path, VerifyOptions{})
	require.True(t, rep.OK, "%+v", rep.Findings)
}

func TestFollowGoesOnPastForeignLines(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	appendN(t, l, 0, 5)
	_, lines := sample{path: path}.lines(t)
	far, _ := rehash(lines[0][4], 1_000_000, lines[0][4][len(lines[0][4])-66:len(lines[0][4])-2], change)
	writeLines(t, path, append(lines[0], "garbage", far))
	appendN(t, l, 5, 5)
	var seqs []uint64
	err := l.Follow(t.Context(), 3, func(r Record) error {
		if seqs = append(seqs, r.Seq); len(seqs) == 8 {
			return os.ErrProcessDone
		}
		return nil
	})
	require.ErrorIs(t, err, os.ErrProcessDone)
	require.Equal(t, []uint64{3, 4, 5, 6, 7, 8, 9, 10}, seqs)
}

// TestFollowAcrossRestartAndRotation begins before the ledger exists.
func TestFollowAcrossRestartAndRotation(t *testing.T) {
	path := tempLedger(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	enough := errors.New("enough")
	var got []Record
	ended := make(chan error, 1)
	go func() {
		ended <- Follow(ctx, path, 1, func(r Record) error {
			if got = append(got, r); len(got) == 100 {
				return enough
			}
			return nil
		})
	}()
	var recs []Record
	for i := range 10 {
		l := open(t, path, Options{MaxBytes: 1000})
		recs = append(recs, appendN(t, l, 10*i, 10)...)
		require.NoError(t, l.Close())
	}
	require.ErrorIs(t, <-ended, enough)
	require.Equal(t, recs, got)
}

func TestFollowEndsWithItsContext(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	appendN(t, l, 0, 1)
	for _, follow := range []func(context.Context, func(Record) error) error{
		func(ctx context.Context, fn func(Record) error) error { return l.Follow(ctx, 1, fn) },
		func(ctx context.Context, fn func(Record) error) error { return Follow(ctx, path, 1, fn) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, follow(ctx, func(Record) error { cancel(); return nil }), context.Canceled)
	}
}

func TestEveryByteOfTheHeadsCounts(t *testing.T) {
	s := newSample(t, 20, 0)
	data, err := os.ReadFile(s.path + ".heads")
	require.NoError(t, err)
	for i := range data[:len(data)-1] {
		changed := append([]byte{}, data...)
		changed[i] ^= []byte{1, 0x20, 0x80}[i%3]
		require.NoError(t, os.WriteFile(s.path+".heads", changed, 0o640))
		require.False(t, verify(t, s.path, VerifyOptions{}).OK, "byte %d: %q for %q", i, changed[i], data[i])
	}
}

// TestWritingShowsADiskThatHangs: nothing is being written at rest, and the time grows while the
// disk does not answer.
func TestWritingShowsADiskThatHangs(t *testing.T) {
	path := tempLedger(t)
	hangs, release := make(chan struct{}), make(chan struct{})
	var hanging atomic.Bool
	l := open(t, path, Options{fdatasync: func(f *os.File) error {
		if f.Name() == path && hanging.CompareAndSwap(true, false) {
			close(hangs)
			<-release
		}
		return fdatasync(f)
	}})
	appendN(t, l, 0, 1)
	require.Eventually(t, func() bool { return l.Writing() == 0 }, 10*time.Second, time.Millisecond)
	hanging.Store(true)
	done := make(chan error, 1)
	go func() {
		_, err := l.Append(context.Background(), "held up", eventOf(1))
		done <- err
	}()
	<-hangs
	before := l.Writing()
	require.Eventually(t, func() bool { return l.Writing() > before+10*time.Millisecond }, 10*time.Second, time.Millisecond)
	close(release)
	require.NoError(t, <-done)
	require.Eventually(t, func() bool { return l.Writing() == 0 }, 10*time.Second, time.Millisecond)
}
