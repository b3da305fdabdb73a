package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
)

const (
	// tailSize is how much of the end of an object is read when it is opened: the index of a pack,
	// or all of a small object, in the request that asks for its size.
	tailSize = 64 << 10
	// firstAhead and lastAhead are how much more is read than was asked for by a reader that goes on
	// where it was: doubling, so that a whole pack needs few requests and a single block little.
	firstAhead = 1 << 20
	lastAhead  = 8 << 20
	// removeBatch is how many objects a server removes in one request.
	removeBatch = 1000
)

var errReordered = errors.New("the server lists objects out of order")

// Open reads the end of the object.
func (s *S3) Open(ctx context.Context, name string) (Object, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, fmt.Errorf("name %q: not that of an object", name)
	}
	o := &s3Object{s: s, name: name}
	o.ctx, o.cancel = context.WithCancel(context.WithoutCancel(ctx))
	err := s.attempt(ctx, "open", name, func(ctx context.Context) error {
		var get minio.GetObjectOptions
		if err := get.SetRange(0, -tailSize); err != nil {
			return err
		}
		body, info, header, err := s.core.GetObject(ctx, s.opts.Bucket, s.prefix+name, get)
		if err != nil {
			return err
		}
		defer body.Close()
		if o.tail, err = io.ReadAll(io.LimitReader(body, tailSize+1)); err != nil {
			return err
		}
		o.etag, o.size = info.ETag, int64(len(o.tail))
		if _, total, ok := strings.Cut(header.Get("Content-Range"), "/"); ok {
			if o.size, err = strconv.ParseInt(total, 10, 64); err != nil {
				return fmt.Errorf("Content-Range %q: %w", header.Get("Content-Range"), err)
			}
		}
		if int64(len(o.tail)) != min(o.size, tailSize) {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok && answer.Code == "InvalidRange" {
		return o, nil // an empty object has no last byte
	}
	if err != nil {
		o.cancel()
		return nil, err
	}
	return o, nil
}

// s3Object reads what it has not read yet through ranged requests.
type s3Object struct {
	// ctx ends with Close: io.ReaderAt takes none, and an object may be kept open for other calls.
	ctx    context.Context //nolint:containedctx // see above
	cancel context.CancelFunc
	s      *S3
	name   string
	etag   string
	size   int64
	tail   []byte

	mu sync.Mutex
	// window is what was read ahead, from begin on; next is where a steady reader goes on, and ahead
	// how far to read when it does.
	window             []byte
	begin, next, ahead int64
}

func (o *s3Object) Size() int64 { return o.size }

// Close ends reads that are under way.
func (o *s3Object) Close() error {
	o.cancel()
	return nil
}

func (o *s3Object) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s at %d: before its begin", o.name, off)
	}
	n := 0
	for n < len(p) && off < o.size {
		got, err := o.readSome(p[n:min(int64(len(p)), int64(n)+o.size-off)], off)
		n, off = n+got, off+int64(got)
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readSome reads at least one byte; p does not reach beyond the end.
func (o *s3Object) readSome(p []byte, off int64) (int, error) {
	if at := o.size - int64(len(o.tail)); off >= at {
		return copy(p, o.tail[off-at:]), nil
	}
	o.mu.Lock()
	if off >= o.begin && off < o.begin+int64(len(o.window)) {
		n := copy(p, o.window[off-o.begin:])
		o.next = off + int64(n)
		o.mu.Unlock()
		return n, nil
	}
	if off != o.next {
		o.ahead = 0
	} else {
		o.ahead = min(max(2*o.ahead, firstAhead), lastAhead)
	}
	o.next = off + int64(len(p))
	length := min(max(int64(len(p)), o.ahead), o.size-off)
	o.mu.Unlock()
	if length <= int64(len(p)) {
		return len(p), o.fetch(p, off)
	}
	window := make([]byte, length)
	if err := o.fetch(window, off); err != nil {
		return 0, err
	}
	o.mu.Lock()
	o.window, o.begin = window, off
	o.mu.Unlock()
	return copy(p, window), nil
}

// fetch fills p. A broken answer is gone on with where it broke.
func (o *s3Object) fetch(p []byte, off int64) error {
	n := 0
	for n < len(p) {
		before := n
		err := o.s.attempt(o.ctx, "read", o.name, func(ctx context.Context) error {
			var get minio.GetObjectOptions
			if err := errors.Join(get.SetRange(off+int64(n), off+int64(len(p))-1), get.SetMatchETag(o.etag)); err != nil {
				return err
			}
			body, _, header, err := o.s.core.GetObject(ctx, o.s.opts.Bucket, o.s.prefix+o.name, get)
			if err != nil {
				return err
			}
			defer body.Close()
			if !strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-", off+int64(n))) {
				return minio.ErrorResponse{Code: "InvalidRange", Message: "the server answers with another range than was asked for"}
			}
			got, err := io.ReadFull(body, p[n:])
			if n += got; n > before {
				return nil // progress: the next attempt has all of its patience again
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// List pages through the bucket.
func (s *S3) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		last := ""
		for {
			page, err := s.page(ctx, prefix, last)
			if err != nil {
				yield(ObjectInfo{}, err)
				return
			}
			for _, info := range page {
				if !yield(info, nil) {
					return
				}
			}
			if len(page) < removeBatch {
				return
			}
			last = page[len(page)-1].Name
		}
	}
}

// page lists at most a thousand objects that come after the one named.
func (s *S3) page(ctx context.Context, prefix, after string) ([]ObjectInfo, error) {
	var page []ObjectInfo
	err := s.attempt(ctx, "list", cmp.Or(prefix, "the bucket"), func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		page = page[:0]
		o := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, MaxKeys: removeBatch}
		if after != "" {
			o.StartAfter = s.prefix + after
		}
		for info := range s.core.ListObjectsIter(ctx, s.opts.Bucket, o) {
			if info.Err != nil {
				return info.Err
			}
			name := strings.TrimPrefix(info.Key, s.prefix)
			if name == "" || strings.HasSuffix(name, "/") || hidden(name, prefix) {
				continue // a folder that a console has made, or no part of the store
			}
			page = append(page, ObjectInfo{Name: name, Size: info.Size})
			if len(page) == removeBatch {
				break
			}
		}
		if !slices.IsSortedFunc(page, func(a, b ObjectInfo) int { return cmp.Compare(a.Name, b.Name) }) ||
			len(page) > 0 && page[0].Name <= after {
			return errReordered
		}
		return nil
	})
	return page, err
}

// Remove removes up to a thousand objects with each request.
func (s *S3) Remove(ctx context.Context, names ...string) error {
	if !locksOnly(names) {
		fenced, cancel, err := s.locks.fence(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		ctx = fenced
	}
	for batch := range slices.Chunk(names, removeBatch) {
		left := batch
		err := s.attempt(ctx, "remove", batch[0], func(ctx context.Context) error {
			if err := s.locks.held(left...); err != nil {
				return err
			}
			var errs []error
			left, errs = s.removeOnce(ctx, left)
			return errors.Join(errs...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// removeOnce returns what was not removed, and why.
func (s *S3) removeOnce(ctx context.Context, names []string) (left []string, errs []error) {
	if len(names) == 1 { // the rights and the header of a batch are not needed for one
		err := s.core.RemoveObject(ctx, s.opts.Bucket, s.prefix+names[0], minio.RemoveObjectOptions{})
		if err == nil || errors.Is(asNotExist(err), fs.ErrNotExist) {
			return nil, nil
		}
		return names, []error{err}
	}
	keys := make(chan minio.ObjectInfo, len(names))
	for _, name := range names {
		keys <- minio.ObjectInfo{Key: s.prefix + name}
	}
	close(keys)
	for failed := range s.core.RemoveObjects(ctx, s.opts.Bucket, keys, minio.RemoveObjectsOptions{}) {
		left = append(left, strings.TrimPrefix(failed.ObjectName, s.prefix))
		errs = append(errs, failed.Err)
	}
	return left, errs
}
