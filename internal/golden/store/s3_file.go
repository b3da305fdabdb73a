package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

const (
	// s3PartSize is how much is sent in one request, and how much is sent again when one breaks.
	// Servers accept no less than 5 MiB.
	s3PartSize = 8 << 20
	// s3Parts is how many parts of a file are sent at once.
	s3Parts = 3
	// s3Sum is the object's metadata that holds the checksum of a file: the SHA-256 of the SHA-256
	// of each part of s3PartSize bytes. By it an upload whose answer was lost is recognised.
	s3Sum = "Shivx-Parts-Sha256"
	// abortTimeout is how long an upload that nobody wants may take to be taken back.
	abortTimeout = 10 * time.Second
)

// s3File waits in a local file without a name, which a killed process does not leave behind.
type s3File struct {
	s     *S3
	file  *os.File
	size  int64
	sum   hash.Hash
	parts []format.Hash
	// tried is set once a request was sent that may have named the object.
	tried bool
	ended bool

	// name and upload belong together: the upload in parts that is under way.
	name, upload string
	mu           sync.Mutex
	done         map[int]minio.CompletePart
}

// Create begins a local file.
func (s *S3) Create(ctx context.Context) (File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(s.opts.TempDir, "shivx-golden-*")
	if err != nil {
		return nil, s.explainTemp(err)
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, err
	}
	return &s3File{s: s, file: file, sum: sha256.New()}, nil
}

func (s *S3) explainTemp(err error) error {
	err = fmt.Errorf("keep a file until it is uploaded: %w", err)
	return shivx.Hint(err, "make room or a writable folder for temporary files, or name another in the settings of the store; now it is "+s.opts.TempDir)
}

func (f *s3File) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	for rest := p[:n]; len(rest) > 0; {
		k := min(int64(len(rest)), s3PartSize-f.size%s3PartSize)
		f.sum.Write(rest[:k])
		f.size += k
		rest = rest[k:]
		if f.size%s3PartSize == 0 {
			f.endPart()
		}
	}
	if err != nil {
		return n, f.s.explainTemp(err)
	}
	return n, nil
}

func (f *s3File) endPart() {
	f.parts = append(f.parts, format.Hash(f.sum.Sum(nil)))
	f.sum.Reset()
}

// Publish uploads the file. After an error it may be called again, and sends only what is missing.
func (f *s3File) Publish(ctx context.Context, name string) error {
	return f.publish(ctx, name, strings.HasPrefix(name, goldensDir))
}

// Replace uploads the file in place of another.
func (f *s3File) Replace(ctx context.Context, name string) error { return f.publish(ctx, name, true) }

func (f *s3File) publish(ctx context.Context, name string, replace bool) error {
	if !fs.ValidPath(name) || name == "." {
		return fmt.Errorf("name %q: not that of an object", name)
	}
	if replace {
		fenced, cancel, err := f.s.locks.fence(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		ctx = fenced
		if err := f.s.locks.there(ctx); err != nil {
			return err
		}
	}
	if int64(len(f.parts)) < (f.size+s3PartSize-1)/s3PartSize || f.size == 0 && len(f.parts) == 0 {
		f.endPart()
	}
	var err error
	if len(f.parts) == 1 {
		err = f.put(ctx, name, replace)
	} else {
		err = f.putParts(ctx, name, replace)
	}
	if err != nil {
		return err
	}
	f.ended = true
	return f.file.Close()
}

// checksum is the value of s3Sum.
func (f *s3File) checksum() string {
	sum := sha256.New()
	for _, p := range f.parts {
		sum.Write(p[:])
	}
	return format.Hash(sum.Sum(nil)).String()
}

func (f *s3File) putOptions(replace bool) minio.PutObjectOptions {
	o := minio.PutObjectOptions{UserMetadata: map[string]string{s3Sum: f.checksum()}, DisableContentSha256: true}
	if !replace && !f.s.blind.Load() {
		o.SetMatchETagExcept("*")
	}
	return o
}

// put sends a small file with one request.
func (f *s3File) put(ctx context.Context, name string, replace bool) error {
	return f.s.attempt(ctx, "upload", name, func(ctx context.Context) error {
		if !replace && f.s.blind.Load() {
			if there, err := f.there(ctx, name); there || err != nil {
				return err
			}
		}
		body := io.NewSectionReader(f.file, 0, f.size)
		_, err := f.s.core.PutObject(ctx, f.s.opts.Bucket, f.s.prefix+name, body, f.size, "", f.parts[0].String(), f.putOptions(replace))
		return f.settle(ctx, name, replace, err)
	})
}

// settle makes sense of what the server says to a request that names the object.
func (f *s3File) settle(ctx context.Context, name string, replace bool, err error) error {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	switch {
	case err == nil:
		return nil
	case ok && !replace && answer.Code == "NotImplemented" && f.s.blind.CompareAndSwap(false, true):
		f.s.log.WarnContext(ctx, "the S3 server knows no conditional writes: two hosts that write the same object at once are not told")
		return f.settleBlind(ctx, name)
	case ok && !replace && answer.StatusCode == 412:
		there, err := f.there(ctx, name)
		if err == nil && !there { // removed since
			err = minio.ErrorResponse{Code: "OperationAborted", Message: "the object was removed while it was uploaded"}
		}
		return err
	case ok && (answer.StatusCode == 409 || answer.Code == "ConditionalRequestConflict"):
		return minio.ErrorResponse{Code: "OperationAborted", StatusCode: answer.StatusCode, Message: answer.Message}
	}
	f.tried = f.tried || !ok || answer.StatusCode >= 500
	return err
}

// settleBlind lets the caller's request be repeated without a condition.
func (f *s3File) settleBlind(ctx context.Context, name string) error {
	if there, err := f.there(ctx, name); there || err != nil {
		return err
	}
	return minio.ErrorResponse{Code: "OperationAborted", Message: "once more without a condition"}
}

// there says whether the object is there through an earlier request of this file. One that is there
// for another reason is fs.ErrExist.
func (f *s3File) there(ctx context.Context, name string) (bool, error) {
	info, err := f.s.core.StatObject(ctx, f.s.opts.Bucket, f.s.prefix+name, minio.StatObjectOptions{})
	if err != nil {
		err = f.s.spelled(ctx, name, err)
	}
	if errors.Is(asNotExist(err), fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if f.tried && info.Size == f.size && info.UserMetadata[s3Sum] == f.checksum() {
		return true, nil
	}
	return false, fs.ErrExist
}

// spelled asks once more where a question without an answer's body has failed: the body says why.
func (s *S3) spelled(ctx context.Context, name string, err error) error {
	if answer, ok := errors.AsType[minio.ErrorResponse](err); !ok || answer.Code == minio.NoSuchKey {
		return err
	}
	body, _, _, again := s.core.GetObject(ctx, s.opts.Bucket, s.prefix+name, minio.GetObjectOptions{})
	if again == nil {
		_ = body.Close()
		return err
	}
	return again
}

// Discard ends the file, and takes back what was uploaded of it.
func (f *s3File) Discard() error {
	if f.ended {
		return nil
	}
	f.ended = true
	err := f.file.Close()
	if f.upload == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	if abort := f.s.core.AbortMultipartUpload(ctx, f.s.opts.Bucket, f.s.prefix+f.name, f.upload); abort != nil {
		f.s.log.Warn("parts of an upload stay on the S3 server until the next prune", "name", f.name, "err", abort)
	}
	return err
}

func (f *s3File) partSize(i int) int64 { return min(s3PartSize, f.size-int64(i)*s3PartSize) }

func (f *s3File) completed() []minio.CompletePart {
	parts := make([]minio.CompletePart, len(f.parts))
	for i := range parts {
		parts[i] = f.done[i]
	}
	return parts
}

// lostUpload says whether the server does not know the upload (any more).
func lostUpload(err error) bool {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && answer.Code == minio.NoSuchUpload
}
