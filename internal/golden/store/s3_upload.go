package store

import (
	"context"
	"crypto/md5" //nolint:gosec // the checksum that servers name parts by; nothing rests on it alone
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

// putParts sends a large file in parts. Those the server has already, from an earlier call or an
// earlier process, are not sent again.
func (f *s3File) putParts(ctx context.Context, name string, replace bool) error {
	if !replace {
		var there bool
		err := f.s.attempt(ctx, "look for", name, func(ctx context.Context) (err error) {
			there, err = f.there(ctx, name)
			return err
		})
		if there || err != nil {
			return err
		}
	}
	for again := true; ; again = false {
		err := f.begin(ctx, name)
		if err == nil {
			err = f.sendParts(ctx)
		}
		if err == nil {
			err = f.complete(ctx, replace)
		}
		if err == nil || !lostUpload(err) {
			return err
		}
		f.upload, f.done = "", nil
		if !again {
			return err
		}
	}
}

// begin takes up the upload that is under way, or begins one.
func (f *s3File) begin(ctx context.Context, name string) error {
	if f.upload != "" && f.name == name {
		return nil
	}
	f.name, f.upload, f.done = name, "", make(map[int]minio.CompletePart)
	if err := f.adopt(ctx); err != nil {
		return err
	}
	if f.upload != "" {
		return nil
	}
	return f.s.attempt(ctx, "begin to upload", name, func(ctx context.Context) (err error) {
		o := f.putOptions(true) // the condition goes with the request that completes it
		f.upload, err = f.s.core.NewMultipartUpload(ctx, f.s.opts.Bucket, f.s.prefix+name, o)
		return err
	})
}

// adopt takes up what a killed process has uploaded of the same pack: a pack's name stands for all of
// its bytes, and each part is compared besides.
func (f *s3File) adopt(ctx context.Context) error {
	if !strings.HasPrefix(f.name, packsDir) {
		return nil
	}
	upload, err := f.s.leftUpload(ctx, f.name)
	if upload == "" || err != nil {
		return err
	}
	done := make(map[int]minio.CompletePart)
	err = f.s.attempt(ctx, "look for the parts of", f.name, func(ctx context.Context) error {
		for marker, more := 0, true; more; {
			list, err := f.s.core.ListObjectParts(ctx, f.s.opts.Bucket, f.s.prefix+f.name, upload, marker, 1000)
			if err != nil {
				return err
			}
			for _, p := range list.ObjectParts {
				if f.matches(p) {
					done[p.PartNumber-1] = minio.CompletePart{PartNumber: p.PartNumber, ETag: p.ETag}
				}
			}
			marker, more = list.NextPartNumberMarker, list.IsTruncated
		}
		return nil
	})
	if lostUpload(err) {
		return nil
	}
	if err == nil {
		f.upload, f.done = upload, done
		f.s.log.InfoContext(ctx, "an interrupted upload is taken up", "name", f.name, "parts", len(done))
	}
	return err
}

// matches compares a part that the server has with the file's.
func (f *s3File) matches(p minio.ObjectPart) bool {
	i := p.PartNumber - 1
	if i < 0 || i >= len(f.parts) || p.Size != f.partSize(i) {
		return false
	}
	sum := md5.New() //nolint:gosec // see the import
	if _, err := io.Copy(sum, f.section(i)); err != nil {
		return false
	}
	return strings.Trim(p.ETag, `"`) == hex.EncodeToString(sum.Sum(nil))
}

func (f *s3File) section(i int) *io.SectionReader {
	return io.NewSectionReader(f.file, int64(i)*s3PartSize, f.partSize(i))
}

// sendParts returns at the first part that cannot be sent; what was sent counts next time.
func (f *s3File) sendParts(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s3Parts)
	for i := range f.parts {
		f.mu.Lock()
		_, done := f.done[i]
		f.mu.Unlock()
		if done {
			continue
		}
		g.Go(func() error {
			return f.s.attempt(ctx, fmt.Sprintf("upload part %d of", i+1), f.name, func(ctx context.Context) error {
				o := minio.PutObjectPartOptions{Sha256Hex: f.parts[i].String(), DisableContentSha256: true}
				part, err := f.s.core.PutObjectPart(ctx, f.s.opts.Bucket, f.s.prefix+f.name, f.upload, i+1, f.section(i), f.partSize(i), o)
				if err != nil {
					return f.partError(ctx, err)
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				f.done[i] = minio.CompletePart{PartNumber: i + 1, ETag: part.ETag}
				return nil
			})
		})
	}
	return g.Wait()
}

// partError finds out whether the server has cut the connection because it does not know the upload
// any more: it may do so before its answer is read.
func (f *s3File) partError(ctx context.Context, err error) error {
	if _, answered := errors.AsType[minio.ErrorResponse](err); answered || ctx.Err() != nil {
		return err
	}
	_, lost := f.s.core.ListObjectParts(ctx, f.s.opts.Bucket, f.s.prefix+f.name, f.upload, 0, 1)
	if lostUpload(lost) {
		return lost
	}
	return err
}

func (f *s3File) complete(ctx context.Context, replace bool) error {
	err := f.s.attempt(ctx, "complete the upload of", f.name, func(ctx context.Context) error {
		if !replace && f.s.blind.Load() {
			if there, err := f.there(ctx, f.name); there || err != nil {
				return err
			}
		}
		_, err := f.s.core.CompleteMultipartUpload(ctx, f.s.opts.Bucket, f.s.prefix+f.name, f.upload, f.completed(), f.putOptions(replace))
		if lostUpload(err) {
			// Completed by a request whose answer was lost? That of a golden is compared as well.
			f.tried = true
			if there, statErr := f.there(ctx, f.name); there {
				return nil
			} else if statErr != nil && !replace {
				return statErr
			}
			return err
		}
		return f.settle(ctx, f.name, replace, err)
	})
	if err == nil {
		f.upload = ""
	}
	return err
}

// leftUpload returns the upload of that name which an earlier process has left, once.
func (s *S3) leftUpload(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unfinished == nil {
		uploads, err := s.listUploads(ctx)
		if err != nil {
			return "", err
		}
		s.unfinished = make(map[string]string, len(uploads))
		for _, u := range uploads {
			s.unfinished[u.name] = u.id
		}
	}
	upload := s.unfinished[name]
	delete(s.unfinished, name)
	return upload, nil
}

// unfinishedUpload is an upload in parts that was begun and not ended.
type unfinishedUpload struct{ name, id string }

func (s *S3) listUploads(ctx context.Context) ([]unfinishedUpload, error) {
	var uploads []unfinishedUpload
	err := s.attempt(ctx, "list unfinished uploads in", s.opts.Bucket, func(ctx context.Context) error {
		uploads = nil
		for key, id, more := "", "", true; more; {
			list, err := s.core.ListMultipartUploads(ctx, s.opts.Bucket, s.prefix, key, id, "", 1000)
			if answer, ok := errors.AsType[minio.ErrorResponse](err); ok && answer.Code == "NotImplemented" {
				return nil // then nothing can be taken up
			}
			if err != nil {
				return err
			}
			for _, u := range list.Uploads {
				uploads = append(uploads, unfinishedUpload{strings.TrimPrefix(u.Key, s.prefix), u.UploadID})
			}
			key, id, more = list.NextKeyMarker, list.NextUploadIDMarker, list.IsTruncated
		}
		return nil
	})
	return uploads, err
}

// sweep takes back what killed processes have uploaded in part; nobody else may be writing.
func (s *S3) sweep(ctx context.Context) error {
	uploads, err := s.listUploads(ctx)
	if err != nil {
		return err
	}
	for _, u := range uploads {
		err := s.attempt(ctx, "take back the upload of", u.name, func(ctx context.Context) error {
			err := s.core.AbortMultipartUpload(ctx, s.opts.Bucket, s.prefix+u.name, u.id)
			if lostUpload(err) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
