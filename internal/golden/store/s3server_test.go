package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

const (
	testAccess = "golden-access"
	testSecret = "golden-secret-of-a-test"
	testBucket = "goldens"
	testRegion = "eu-test-1"
)

// s3Server is a real S3 server on a folder. Its metadata lies in a folder beside it, so that no
// extended attributes are needed.
type s3Server struct {
	program, dir, addr string
	args               []string
	cmd                *exec.Cmd
}

// startS3 starts a server with an empty bucket; further arguments may be added.
func startS3(t testing.TB, args ...string) *s3Server {
	t.Helper()
	s := &s3Server{program: s3Program(t), dir: t.TempDir(), addr: testenv.Addr(t), args: args}
	require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "data", testBucket), 0o750))
	require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "meta"), 0o750))
	t.Cleanup(s.kill)
	s.start(t)
	return s
}

// s3Program is the server, which takes minutes to build: once, into the project's bin folder.
func s3Program(t testing.TB) string {
	t.Helper()
	program, err := filepath.Abs("../../../bin/versitygw")
	require.NoError(t, err)
	if _, err := os.Stat(program); err != nil {
		testenv.Missing(t, "needs the S3 server of test/s3server: make s3server builds it")
	}
	return program
}

func (s *s3Server) start(t testing.TB) {
	t.Helper()
	args := append([]string{
		"--port", s.addr, "--access", testAccess, "--secret", testSecret, "--region", testRegion, "--quiet",
	}, s.args...)
	args = append(args, "posix", "--sidecar", filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data"))
	s.cmd = exec.Command(s.program, args...)
	s.cmd.Dir = s.dir
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, s.cmd.Start())
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond, "the S3 server answers")
}

func (s *s3Server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// options reach the server through addr: its own, or that of a proxy.
func (s *s3Server) options(t testing.TB, addr string) S3Options {
	return S3Options{
		Endpoint: "http://" + addr, Bucket: testBucket, Prefix: "hosts/a", Region: testRegion,
		AccessKey: testAccess, SecretKey: testSecret, PathStyle: true, TempDir: t.TempDir(),
		Retry: 20 * time.Second, Stall: 2 * time.Second,
	}
}

func openS3(t testing.TB, o S3Options) *S3 {
	t.Helper()
	b, err := OpenS3(t.Context(), o)
	require.NoError(t, err)
	return b
}

// certificate makes one for 127.0.0.1 that has signed itself.
func certificate(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "s3.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	bytes, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	testenv.WriteFile(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	testenv.WriteFile(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: bytes})))
	return cert, key
}

// publish writes an object and names it.
func publish(ctx context.Context, b Backend, name string, data []byte) error {
	f, err := b.Create(ctx)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Publish(ctx, name); err != nil {
		_ = f.Discard()
		return err
	}
	return nil
}
