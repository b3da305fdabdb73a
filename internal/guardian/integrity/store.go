package integrity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// The files of the baseline's folder. A new baseline waits as pendingName until it is recorded.
const (
	baselineName = "baseline.ndjson"
	pendingName  = "baseline.ndjson.new"
	keyName      = "baseline.key"
)

// disk is how files are written, so that a test can stop between any two steps. Each step is on the
// disk when it returns.
type disk interface {
	// put writes a file of the mode 0600.
	put(name string, write func(io.Writer) error) error
	move(from, to string) error
	drop(name string) error
}

// store reads and writes the baseline's files.
type store struct {
	dir  string
	disk disk
	// key signs; nil when there is none that the baseline knows. sum is the hash over the
	// baseline's file as it should be; zero when it is not as it should be.
	key ed25519.PrivateKey
	sum [32]byte
}

// loaded is what a start has found.
type loaded struct {
	base *baseline
	// anchor is the root that should be there; "" when it is not known.
	anchor string
	// trusted is true when base is the recorded one; adopt when it is signed and there was no record
	// of any; fresh when there was neither record nor baseline.
	trusted, adopt, fresh bool
}

func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

// load reads what is there. A baseline that was recorded and not yet put in its place is put there.
func (s *store) load(anchor string) (loaded, error) {
	l := loaded{base: &baseline{}, anchor: anchor}
	key, keyErr := s.readKey()
	pending, _, err := s.readBaseline(pendingName)
	switch {
	case err == nil && anchor != "" && pending.root == anchor:
		if err := s.disk.move(pendingName, baselineName); err != nil {
			return l, fmt.Errorf("put the recorded baseline in its place: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		if err := s.disk.drop(pendingName); err != nil {
			return l, fmt.Errorf("remove a baseline that does not count: %w", err)
		}
	}
	b, sum, err := s.readBaseline(baselineName)
	if err != nil && errors.Is(err, fs.ErrNotExist) && anchor == "" {
		if keyErr == nil {
			s.key = key
		}
		l.fresh = true
		return l, nil
	}
	if b != nil {
		l.base = b
	}
	if keyErr == nil && b != nil && publicText(key) == b.Key {
		s.key = key
	}
	if err != nil || b.root != anchor && anchor != "" {
		l.base.tickets = nil // whoever has written them
		return l, nil        // checkSeal says what is wrong
	}
	l.trusted, l.adopt, l.anchor = true, anchor == "", b.root
	s.sum = sum
	return l, nil
}

// readBaseline returns what read does, or the error of opening the file.
func (s *store) readBaseline(name string) (*baseline, [32]byte, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, [32]byte{}, err
	}
	defer f.Close()
	return read(f)
}

// save writes a baseline so that it does not count yet; commit makes it count.
func (s *store) save(b *baseline) (sum [32]byte, err error) {
	if err := s.ensureKey(); err != nil {
		return sum, err
	}
	err = s.disk.put(pendingName, func(to io.Writer) (err error) {
		sum, err = b.write(to, s.key)
		return err
	})
	if err != nil {
		err = shivx.Hint(fmt.Errorf("save the baseline: %w", err), "see whether "+s.dir+" can be written and has room")
	}
	return sum, err
}

func (s *store) commit(sum [32]byte) error {
	s.sum = sum
	if err := s.disk.move(pendingName, baselineName); err != nil {
		return fmt.Errorf("put the recorded baseline in its place: %w", err)
	}
	return nil
}

// ensureKey makes a key when there is none of use, and sees that its file has it.
func (s *store) ensureKey() error {
	if s.key == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return fmt.Errorf("make the baseline's key: %w", err)
		}
		s.key = key
	}
	if _, err := s.checkKey(publicText(s.key)); err == nil {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return fmt.Errorf("make the baseline's key: %w", err)
	}
	const temporary = keyName + ".new"
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	err = s.disk.put(temporary, func(to io.Writer) error {
		_, err := io.Copy(to, bytes.NewReader(text))
		return err
	})
	if err == nil {
		err = s.disk.move(temporary, keyName)
	}
	if err != nil {
		return shivx.Hint(fmt.Errorf("save the baseline's key: %w", err), "see whether "+s.dir+" can be written and has room")
	}
	return nil
}

var errBadKey = errors.New("it holds no Ed25519 key")

func (s *store) readKey() (ed25519.PrivateKey, error) {
	f, err := os.OpenFile(s.path(keyName), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errBadKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errBadKey
	}
	return key, nil
}

// checkKey says what is wrong with the key's file; public is the key that the baseline names. It
// returns the public key that is there.
func (s *store) checkKey(public string) (found string, err error) {
	key, err := s.readKey()
	if err != nil {
		return "", fmt.Errorf("the key cannot be read: %w", err)
	}
	found = publicText(key)
	if found != public {
		return found, errors.New("another key is in its place")
	}
	var is unix.Stat_t
	if err := unix.Lstat(s.path(keyName), &is); err != nil {
		return found, fmt.Errorf("the key cannot be read: %w", err)
	}
	return found, private(is.Mode, is.Uid)
}

// private says what is wrong with the rights of a file that only the agent may change.
func private(mode, uid uint32) error {
	mode &= 0o7777
	if mode&0o077 == 0 && int(uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("others may read or change it: mode %s, owner %d", octal(mode), uid)
}
