package integrity

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The file of a baseline has one JSON object a line: the head; a line {"ticket":…} for each open
// ticket; the entries, in the order of their paths' bytes; and last
//
//	{"root":"<64 hex>","sig":"<base64>"}
//
// root is the SHA-256 over the stored bytes of all lines before, line ends included. sig is an Ed25519
// signature by the key in the head over "<format> <root>". Nothing is encoded again to check either.

// formatName is the version of the format, and what keeps its signatures apart from all others.
const formatName = "shivx-baseline/1"

// sealPrefix begins the last line, and no other.
const sealPrefix = `{"root":`

type ticketLine struct {
	Ticket *kept `json:"ticket"`
}

type sealLine struct {
	Root string `json:"root"`
	Sig  []byte `json:"sig"`
}

// Why a file is not to be trusted.
var (
	errTorn   = errors.New("it is incomplete, or no baseline")
	errEdited = errors.New("its content is not what was signed")
	errForged = errors.New("its signature is wrong")
)

// message is what is signed.
func message(root string) []byte { return []byte(formatName + " " + root) }

// write seals the baseline: it sets the root and writes the file. It returns the hash over the file.
func (b *baseline) write(to io.Writer, key ed25519.PrivateKey) (sum [32]byte, err error) {
	b.Format, b.Entries, b.Key = formatName, len(b.entries), publicText(key)
	content, whole := sha256.New(), sha256.New()
	out := bufio.NewWriterSize(to, 64<<10)
	both := bufio.NewWriterSize(io.MultiWriter(out, content, whole), 64<<10)
	lines := json.NewEncoder(both)
	lines.SetEscapeHTML(false)
	err = lines.Encode(b.head)
	for i := range b.tickets {
		err = errors.Join(err, lines.Encode(ticketLine{&b.tickets[i]}))
	}
	for i := 0; i < len(b.entries) && err == nil; i++ {
		err = lines.Encode(b.entries[i])
	}
	if err = errors.Join(err, both.Flush()); err != nil {
		return sum, err
	}
	b.root = hex.EncodeToString(content.Sum(nil))
	seal, err := json.Marshal(sealLine{Root: b.root, Sig: ed25519.Sign(key, message(b.root))})
	if err != nil {
		return sum, err
	}
	_, err = io.MultiWriter(out, whole).Write(append(seal, '\n'))
	return [32]byte(whole.Sum(nil)), errors.Join(err, out.Flush())
}

// read reads a baseline's file. A file that is complete and not as it was signed is returned with
// errEdited or errForged; root is that of what the file holds, whatever it says itself.
func read(from io.Reader) (b *baseline, sum [32]byte, err error) {
	content, whole := sha256.New(), sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(from, whole), 64<<10)
	b = &baseline{}
	for n := 0; ; n++ {
		text, err := in.ReadBytes('\n')
		if err != nil {
			return nil, sum, errTorn
		}
		if bytes.HasPrefix(text, []byte(sealPrefix)) {
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) || n == 0 || len(b.entries) != b.Entries {
				return nil, sum, errTorn
			}
			b.root = hex.EncodeToString(content.Sum(nil))
			return b, [32]byte(whole.Sum(nil)), b.checkSeal(text)
		}
		_, _ = content.Write(text)
		if err := b.take(n, text); err != nil {
			return nil, sum, fmt.Errorf("%w: line %d", errTorn, n+1)
		}
	}
}

// take reads one line of the content.
func (b *baseline) take(n int, text []byte) error {
	if n == 0 {
		if err := json.Unmarshal(text, &b.head); err != nil || b.Format != formatName {
			return errTorn
		}
		b.entries = make([]entry, 0, min(max(b.Entries, 0), 1<<20))
		return nil
	}
	if bytes.HasPrefix(text, []byte(`{"ticket":`)) {
		var l ticketLine
		if err := json.Unmarshal(text, &l); err != nil || l.Ticket == nil {
			return errTorn
		}
		b.tickets = append(b.tickets, *l.Ticket)
		return nil
	}
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	if last := len(b.entries) - 1; last >= 0 && b.entries[last].path >= e.path {
		return errTorn // they would not be found
	}
	b.entries = append(b.entries, e)
	return nil
}

func (b *baseline) checkSeal(text []byte) error {
	var s sealLine
	if err := json.Unmarshal(text, &s); err != nil {
		return errTorn
	}
	if s.Root != b.root {
		return errEdited
	}
	der, err := base64.StdEncoding.DecodeString(b.Key)
	if err != nil {
		return errForged
	}
	public, err := x509.ParsePKIXPublicKey(der)
	key, ok := public.(ed25519.PublicKey)
	if err != nil || !ok || !ed25519.Verify(key, message(b.root), s.Sig) {
		return errForged
	}
	return nil
}

// publicText is the public part of a key in base64 of its DER form.
func publicText(key ed25519.PrivateKey) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "" // it does not fail for an Ed25519 key
	}
	return base64.StdEncoding.EncodeToString(der)
}
