package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Head is a signed statement that the ledger had Seq records, the last with Hash. One line of
// <path>.heads; the signature covers the line's exact bytes before its last field.
type Head struct {
	// Ledger is the file's name without folder and extension.
	Ledger string `json:"ledger"`
	// Genesis is the public key of the first head. Pinned elsewhere, it vouches for all that follow.
	Genesis string `json:"genesis"`
	// Epoch counts the keys from 0; each signs one head.
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
	Hash  string `json:"hash"`
	// Segment is the sequence number with which the file began that was active.
	Segment uint64    `json:"segment"`
	Time    time.Time `json:"time"`
	// Key is the public key that signed this head, Next the one that will sign the next; base64.
	Key  string `json:"key"`
	Next string `json:"next"`
	Sig  string `json:"sig,omitempty"`
}

const sigMark = `,"sig":"`

// sigSize is the length of an Ed25519 signature in base64.
var sigSize = base64.StdEncoding.EncodedLen(ed25519.SignatureSize)

// sign returns the head with its signature and its line without a newline.
func (h Head) sign(key ed25519.PrivateKey) (Head, []byte, error) {
	h.Sig = ""
	body, err := json.Marshal(h)
	if err != nil {
		return Head{}, nil, fmt.Errorf("encode head: %w", err)
	}
	body = body[:len(body)-1]
	h.Sig = base64.StdEncoding.EncodeToString(ed25519.Sign(key, body))
	return h, append(append(append(body, sigMark...), h.Sig...), lineEnd...), nil
}

var errHead = errors.New("not a signed head")

// parseHead reads a line of the heads file. valid says whether the signature is right under the
// head's own key; whether that key may be trusted is for the caller to find out.
func parseHead(line []byte) (h Head, valid bool, err error) {
	body := len(line) - len(sigMark) - sigSize - len(lineEnd)
	if body <= 0 || !bytes.HasPrefix(line[body:], []byte(sigMark)) || !bytes.HasSuffix(line, []byte(lineEnd)) {
		return h, false, errHead
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, false, fmt.Errorf("%w: %w", errHead, err)
	}
	key, err1 := base64.StdEncoding.Strict().DecodeString(h.Key)
	sig, err2 := base64.StdEncoding.Strict().DecodeString(h.Sig)
	if err1 != nil || err2 != nil || len(key) != ed25519.PublicKeySize {
		return h, false, errHead
	}
	return h, ed25519.Verify(key, line[:body], sig), nil
}
