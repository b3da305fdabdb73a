package ledger

import (
	"fmt"
	"time"
)

// Kind says what was done to a ledger.
type Kind string

// The kinds of findings.
const (
	// KindEdited: a line differs from the record that was written.
	KindEdited Kind = "edited"
	// KindDeleted: records are missing between others.
	KindDeleted Kind = "deleted"
	// KindInserted: a line that the ledger never wrote.
	KindInserted Kind = "inserted"
	// KindReordered: a record stands in another place than it was written.
	KindReordered Kind = "reordered"
	// KindDuplicated: a copy of a record.
	KindDuplicated Kind = "duplicated"
	// KindCut: the end is missing; signed heads beside the ledger say that there were more records.
	KindCut Kind = "cut"
	// KindRolledBack: an older copy was put back, signed heads and all; a witness knows a later head.
	KindRolledBack Kind = "rolled-back"
	// KindRewritten: the chain is whole, but it is not the one that was signed.
	KindRewritten Kind = "rewritten"
	// KindSegmentMissing: a whole file is gone.
	KindSegmentMissing Kind = "segment-missing"
	// KindSignature: a signed head is forged, or the chain of keys is broken.
	KindSignature Kind = "signature"
	// KindHeadsMissing: signed heads were removed.
	KindHeadsMissing Kind = "heads-missing"
	// KindGenesis: the signatures start from a key that nobody vouches for.
	KindGenesis Kind = "genesis"
	// KindKeyMissing: the key file is gone, so that a removal of the last heads would not show.
	KindKeyMissing Kind = "key-missing"
)

// Finding is one sign of tampering and its place.
type Finding struct {
	Kind Kind `json:"kind"`
	// Segment is the file and Line its line, from 1; 0 when there is no line to point at.
	Segment string `json:"segment"`
	Line    int64  `json:"line,omitempty"`
	// Seq and To are the first and the last sequence number concerned; 0 when unknown.
	Seq     uint64 `json:"seq,omitempty"`
	To      uint64 `json:"to,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// TornTail is an incomplete last line: a write under way, or cut off by a crash. It was never
// acknowledged, is no sign of tampering, and is moved aside by the next Open.
type TornTail struct {
	Segment string `json:"segment"`
	Line    int64  `json:"line"`
	Bytes   int64  `json:"bytes"`
}

// Report is what Verify found out.
type Report struct {
	Ledger string `json:"ledger"`
	// OK means no findings.
	OK       bool  `json:"ok"`
	Records  int64 `json:"records"`
	Segments int   `json:"segments"`
	Bytes    int64 `json:"bytes"`
	Heads    int   `json:"heads"`
	// LastSeq and LastHash are of the last record.
	LastSeq  uint64 `json:"last_seq"`
	LastHash string `json:"last_hash,omitempty"`
	// Signed is the highest sequence number under a trusted signature; Open counts the records
	// after it, about which the signatures say nothing yet.
	Signed uint64 `json:"signed"`
	Open   uint64 `json:"open"`
	// Genesis is the first public key, to be compared with the one pinned elsewhere.
	Genesis string `json:"genesis,omitempty"`
	// KeyChecked says that the key file was readable and fits the last head, or was found not to.
	KeyChecked bool          `json:"key_checked"`
	Torn       *TornTail     `json:"torn,omitempty"`
	Findings   []Finding     `json:"findings"`
	More       int           `json:"more_findings,omitempty"`
	Elapsed    time.Duration `json:"elapsed_ns"`
}

// maxFindings bounds a report; what is over it is counted in Report.More.
const maxFindings = 1000

func (r *Report) add(f Finding) {
	if len(r.Findings) >= maxFindings {
		r.More++
		return
	}
	f.Hint = hints[f.Kind]
	r.Findings = append(r.Findings, f)
}

const compare = "compare with a copy or with the heads kept by a witness; keep the files as they are for the inquiry"

var hints = map[Kind]string{
	KindEdited:         "do not trust this record; " + compare,
	KindDeleted:        compare,
	KindInserted:       "this line was not written by ShivX; " + compare,
	KindReordered:      compare,
	KindDuplicated:     "remove nothing by hand; " + compare,
	KindCut:            compare,
	KindRolledBack:     "find out who restored the folder; " + compare,
	KindRewritten:      "do not trust these records; " + compare,
	KindSegmentMissing: "put the file back from a copy, under the same name",
	KindSignature:      "trust only what is before the first broken head; " + compare,
	KindHeadsMissing:   "put the .heads file back from a copy, or verify against a witness",
	KindGenesis:        "if the key was lost for a known reason, pass the new genesis key as trusted; else take the ledger for forged",
	KindKeyMissing:     "if this is a copy of a ledger, verify it as a copy; else find out who removed the key",
}

// span writes a range of sequence numbers.
func span(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("record %d", first)
	}
	return fmt.Sprintf("records %d to %d", first, last)
}
