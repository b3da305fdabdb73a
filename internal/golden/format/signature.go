package format

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
)

// signedBefore is signed before the header's line, so that the signature is good for nothing else.
const signedBefore = "shivx-golden-v1\n"

// MaxSignature is the greatest length of the line of the signature in bytes, its newline included.
const MaxSignature = 256

func signed(headerLine []byte) []byte {
	return slices.Concat([]byte(signedBefore), bytes.TrimSuffix(headerLine, []byte{'\n'}))
}

// Sign returns the second line of a golden file with its newline. The header's line is signed
// without its newline, and may be given with it.
func Sign(headerLine []byte, priv ed25519.PrivateKey) ([]byte, error) {
	if len(priv) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("a signing key of %d bytes", len(priv))
	}
	pub, ok := priv.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("a signing key without a public one")
	}
	line := appendBase64([]byte(`{"key":`), pub)
	line = appendBase64(append(line, `,"sig":`...), ed25519.Sign(priv, signed(headerLine)))
	return append(line, '}', '\n'), nil
}

// VerifySignature says whether the signature fits the header's line, and returns the key it names.
// Whether that key is to be trusted is for the caller to say. The error is ErrDamaged.
func VerifySignature(headerLine, sigLine []byte) (ed25519.PublicKey, error) {
	c := cursor{rest: bytes.TrimSuffix(sigLine, []byte{'\n'})}
	var key, sig []byte
	ok := len(sigLine) <= MaxSignature && c.eat(`{"key":"`)
	if ok {
		key, ok = c.base64(nil)
	}
	if ok = ok && c.eat(`,"sig":"`); ok {
		sig, ok = c.base64(nil)
	}
	if !ok || !c.eat("}") || len(c.rest) > 0 || len(key) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize {
		return nil, fmt.Errorf("%w: the line of the signature is not as it is written", ErrDamaged)
	}
	if !ed25519.Verify(key, signed(headerLine), sig) {
		return nil, fmt.Errorf("%w: the signature does not fit the header", ErrDamaged)
	}
	return key, nil
}
