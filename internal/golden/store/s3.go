package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/shivx/shivx"
)

// S3Options say where a store lies on an S3-compatible server, and how to get there.
type S3Options struct {
	// Endpoint is a URL such as https://s3.eu-central-1.amazonaws.com. http is for servers that are
	// reached through a tunnel or stand beside this host: the keys do not travel, but the data does
	// in clear.
	Endpoint string
	Bucket   string
	// Prefix is the folder of the store in the bucket; empty: the whole bucket.
	Prefix string
	// Region of the bucket; empty: the server is asked.
	Region string
	// AccessKey and SecretKey, and for temporary ones SessionToken, are values, not references.
	AccessKey, SecretKey, SessionToken string
	// PathStyle puts the bucket into the path, as most servers other than Amazon's want it.
	PathStyle bool
	// CA are certificates in PEM that are trusted besides the system's.
	CA []byte
	// TempDir is where files wait for their upload; empty: the system's.
	TempDir string
	// Retry is how long a request that fails for the network's or the server's reasons is tried again.
	// Zero: two minutes.
	Retry time.Duration
	// Stall is how long a connection may stand still before it is cut. Zero: one minute.
	Stall time.Duration
	Lock  LockOptions
	// Log gets a word on each request that is tried again. Nil: nobody does.
	Log *slog.Logger
}

// S3 is a backend in a bucket. It is locked between hosts by objects below locks/.
type S3 struct {
	core   minio.Core
	opts   S3Options
	prefix string
	log    *slog.Logger
	locks  *hostLocks
	// blind is set once the server has said that it knows no conditional writes.
	blind atomic.Bool

	// mu guards unfinished: multipart uploads that earlier processes left, by key. It is nil until
	// the first large file is published.
	mu         sync.Mutex
	unfinished map[string]string
}

var (
	_ Backend  = (*S3)(nil)
	_ Locker   = (*S3)(nil)
	_ Uploader = (*S3)(nil)
)

// OpenS3 returns the backend in a bucket that exists, after it has seen that the server, the bucket
// and the keys are right.
func OpenS3(ctx context.Context, o S3Options) (*S3, error) {
	if o.Retry == 0 {
		o.Retry = 2 * time.Minute
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	if o.TempDir == "" {
		o.TempDir = os.TempDir()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	client, err := dialS3(o)
	if err != nil {
		return nil, err
	}
	s := &S3{core: minio.Core{Client: client}, opts: o, log: o.Log}
	if p := strings.Trim(o.Prefix, "/"); p != "" {
		s.prefix = p + "/"
	}
	s.locks = newHostLocks(s, o.Lock)
	s.locks.denied = denied
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("open the store %s: %w", s, err)
	}
	return s, nil
}

func dialS3(o S3Options) (*minio.Client, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" {
		return nil, shivx.Hint(fmt.Errorf("endpoint %q of the S3 store: not the URL of a server", o.Endpoint),
			"write it as https://HOST or https://HOST:PORT; bucket and prefix are settings of their own")
	}
	transport, err := s3Transport(o)
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	if o.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken),
		Secure: u.Scheme == "https", Region: o.Region, BucketLookup: lookup, Transport: transport,
		MaxRetries: 1, // attempt repeats, with the patience that is configured
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint %q of the S3 store: %w", o.Endpoint, err)
	}
	return client, nil
}

// String returns the place as a URL.
func (s *S3) String() string { return "s3:" + s.opts.Endpoint + "/" + s.opts.Bucket + "/" + s.prefix }

// Lock locks the store for this process against all others, on all hosts. Who has it alone takes back
// what killed processes have uploaded in part.
func (s *S3) Lock(ctx context.Context, mode Mode) (func() error, error) {
	release, err := s.locks.Lock(ctx, mode)
	if err != nil || mode == Shared {
		return release, err
	}
	if err := s.sweep(ctx); err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}

// Uploads is enough to fill a line of some hundred Mbit/s, with s3Parts for each.
func (s *S3) Uploads() int { return 3 }

// Sync has nothing to do: an object is durable when the server has answered.
func (s *S3) Sync(ctx context.Context) error { return ctx.Err() }

// check lists one object: unlike a question for the bucket alone, its answer says what is wrong. A
// wrong address is told soon.
func (s *S3) check(ctx context.Context) error {
	patience := min(s.opts.Retry, 10*time.Second)
	return s.attemptFor(ctx, patience, "look into the bucket", s.opts.Bucket, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		o := minio.ListObjectsOptions{Prefix: s.prefix, Recursive: true, MaxKeys: 1}
		for info := range s.core.ListObjectsIter(ctx, s.opts.Bucket, o) {
			return info.Err
		}
		return nil
	})
}

// s3Transport cuts a connection that stands still in either direction.
func s3Transport(o S3Options) (http.RoundTripper, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if len(o.CA) > 0 && !pool.AppendCertsFromPEM(o.CA) {
		return nil, shivx.Hint(errors.New("the CA of the S3 store holds no certificate"), "give certificates in PEM, beginning with -----BEGIN CERTIFICATE-----")
	}
	dialer := net.Dialer{Timeout: min(o.Stall, 15*time.Second)}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &stallConn{Conn: conn, after: o.Stall}, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: min(o.Stall, 15*time.Second),
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     o.Stall,
		DisableCompression:  true, // packs do not compress, and sizes must be true
		ForceAttemptHTTP2:   false,
	}, nil
}

// stallConn fails when no byte has come or gone for a while. What goes out keeps alive what waits to
// come in: the answer to an upload comes after all of it.
type stallConn struct {
	net.Conn
	after time.Duration
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.after)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.after)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
