package store

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
)

// names in a store
const (
	identityName = "golden.json"
	keyName      = "key.age"
	packsDir     = "packs/"
	goldensDir   = "goldens/"
	packSuffix   = ".pack"
	goldenSuffix = ".golden"
)

func packName(h format.Hash) string {
	text := h.String()
	return packsDir + text[:2] + "/" + text + packSuffix
}

// parsePackName is false for what is no pack, such as a file that somebody put there.
func parsePackName(name string) (format.Hash, bool) {
	text, ok := strings.CutSuffix(name[strings.LastIndexByte(name, '/')+1:], packSuffix)
	if !ok {
		return format.Hash{}, false
	}
	h, err := format.ParseHash(text)
	return h, err == nil && packName(h) == name
}

func goldenName(set, id string) string { return goldensDir + set + "/" + id + goldenSuffix }

// parseGoldenName is false for what is no golden.
func parseGoldenName(name string) (set, id string, ok bool) {
	rest, ok := strings.CutPrefix(name, goldensDir)
	if !ok {
		return "", "", false
	}
	set, file, _ := strings.Cut(rest, "/")
	id, ok = strings.CutSuffix(file, goldenSuffix)
	return set, id, ok && format.CheckName(set) == nil && format.CheckName(id) == nil
}

// idTime is how an id begins: the time in UTC, so that ids sort by age.
const idTime = "20060102-150405"

func newID(now time.Time) string {
	var tail [3]byte
	_, _ = rand.Read(tail[:]) // never fails
	return now.UTC().Format(idTime) + "-" + hex.EncodeToString(tail[:])
}

// timeOf is when the golden of the id was begun, to the second.
func timeOf(id string) (time.Time, error) {
	if len(id) < len(idTime) {
		return time.Time{}, fmt.Errorf("%q is no golden's id", id)
	}
	return time.Parse(idTime, id[:len(idTime)])
}
