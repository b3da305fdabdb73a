package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/shivx/shivx"
)

// waits between attempts: they double from the first to the last, and a random part of them is
// left out, so that hosts which failed together do not come back together
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
)

// attempt runs f until it succeeds, or fails for a reason that time does not cure, or has failed for
// as long as the options allow. It says what was done to which object.
func (s *S3) attempt(ctx context.Context, what, name string, f func(context.Context) error) error {
	return s.attemptFor(ctx, s.opts.Retry, what, name, f)
}

func (s *S3) attemptFor(ctx context.Context, patience time.Duration, what, name string, f func(context.Context) error) error {
	end := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		pause := wait/2 + rand.N(wait/2)
		if ctx.Err() != nil {
			return fmt.Errorf("%s %s: %w", what, name, context.Cause(ctx))
		}
		if !passing(err) || time.Now().Add(pause).After(end) {
			return s.explain(fmt.Errorf("%s %s: %w", what, name, named(err)))
		}
		s.log.WarnContext(ctx, "a request to the S3 store is tried again", "what", what, "name", name, "err", err, "after", pause)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w", what, name, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// notExistError is a missing object, for which errors.Is finds fs.ErrNotExist.
type notExistError struct{ error }

func (e notExistError) Is(target error) bool { return target == fs.ErrNotExist }
func (e notExistError) Unwrap() error        { return e.error }

func asNotExist(err error) error {
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok && answer.Code == minio.NoSuchKey {
		return notExistError{err}
	}
	return err
}

// named puts the server's code before its words: by it the server's manual can be searched.
func named(err error) error {
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok && answer.Code != "" {
		err = fmt.Errorf("%s: %w", answer.Code, err)
	}
	return asNotExist(err)
}

// passing says whether the same request may succeed later.
func passing(err error) bool {
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
		switch answer.Code {
		case "RequestTimeout", "SlowDown", minio.InternalError, "ServiceUnavailable", "OperationAborted",
			"Throttling", "ThrottlingException", "SlowDownRead", "SlowDownWrite":
			return true
		}
		switch answer.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	if tlsFault(err) != "" || strings.Contains(err.Error(), "gave HTTP response to HTTPS client") {
		return false
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return false
	}
	if errors.Is(err, errReordered) || errors.Is(err, fs.ErrExist) || errors.Is(err, ErrLockLost) {
		return false
	}
	return true // what is left is the network
}

// denied says whether the server lets nothing be written: for lack of rights, or of room.
func denied(err error) bool {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return false
	}
	switch answer.Code {
	case minio.AccessDenied, "AllAccessDisabled", "MethodNotAllowed", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded":
		return true
	}
	return answer.StatusCode == http.StatusInsufficientStorage
}

// tlsFault says what is wrong with the server's certificate, or "".
func tlsFault(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by nobody this host trusts: give the certificate of its CA in the settings of the store"
	case errors.As(err, &host):
		return "the server's certificate is for another name: use that name as the endpoint; where it names only the server and not bucket.server, set path style"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate is expired or not valid yet: renew it, and check this host's clock with timedatectl"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "the server's certificate is not valid: ask who runs the server"
	}
	return ""
}

// explain adds what an operator can do about an error of the server or of the way there.
func (s *S3) explain(err error) error {
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return shivx.Hint(err, s.answerHint(answer))
	}
	if fault := tlsFault(err); fault != "" {
		return shivx.Hint(err, fault)
	}
	if strings.Contains(err.Error(), "gave HTTP response to HTTPS client") {
		return shivx.Hint(err, "the server does not speak TLS at this port: use another port, or http:// where the network is your own")
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return shivx.Hint(err, "the name "+dns.Name+" is not known: check the endpoint and this host's DNS; where only the bucket's name in it is wrong, set path style")
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return shivx.Hint(err, "the server "+s.opts.Endpoint+" cannot be reached, or stands still: check the network, a firewall and the server, then run the same command again")
	}
	return err
}

func (s *S3) answerHint(answer minio.ErrorResponse) string {
	switch answer.Code {
	case minio.InvalidAccessKeyID, "InvalidAccessKey", "XAdminUserNotFound":
		return "the server does not know the access key: check it, and that it belongs to this server"
	case minio.SignatureDoesNotMatch:
		return "the secret key is wrong: check it for a missing or additional character"
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return "the session token is expired or wrong: get new temporary keys"
	case "RequestTimeTooSkewed", "RequestExpired":
		return "this host's clock differs from the server's by more than 15 minutes: check it with timedatectl"
	case minio.NoSuchBucket:
		return "make the bucket " + s.opts.Bucket + ", or check its name and the endpoint"
	case minio.AccessDenied, "AllAccessDisabled", "AccountProblem":
		return "the key needs the rights s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload for the bucket " + s.opts.Bucket
	case "AuthorizationHeaderMalformed", minio.InvalidRegion, "PermanentRedirect", "IllegalLocationConstraintException":
		if answer.Region != "" {
			return "set the region of the store to " + answer.Region
		}
		return "check the region and the endpoint: the bucket lies elsewhere"
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "EntityTooLarge":
		return "the server or the bucket has no more room: enlarge it, or remove old goldens with shivx golden prune"
	case "SlowDown", "ServiceUnavailable", minio.InternalError:
		return "the server is overloaded or fails: look after it, then run the same command again"
	}
	return "look into the log of the server"
}
