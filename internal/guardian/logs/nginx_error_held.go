package logs

import (
	"encoding/json"
	"errors"
	"fmt"
)

// savedNginx is what an nginxError holds between two lines.
type savedNginx struct {
	Text    []byte             `json:"text,omitempty"`
	Records []savedNginxRecord `json:"records,omitempty"`
	User    []byte             `json:"user,omitempty"`
}

// savedNginxRecord is a heldRecord, with places relative to the next line.
type savedNginxRecord struct {
	// Bytes, Tags and Lines are how far back it began.
	Bytes  int64     `json:"bytes"`
	Tags   int64     `json:"tags,omitempty"`
	Lines  int       `json:"lines"`
	Tagged bool      `json:"tagged,omitempty"`
	End    int       `json:"end,omitempty"`
	Path   nginxPath `json:"path,omitempty"`
}

// Held implements Settler.
func (p *nginxError) Held() string {
	if !p.shadow.dark() && len(p.user) == 0 {
		return ""
	}
	s := &p.shadow
	saved, begin := savedNginx{User: p.user}, 0
	if s.read > 0 {
		begin = s.held[s.read-1].end
	}
	saved.Text = s.text[begin:]
	for _, r := range s.held[s.read:] {
		saved.Records = append(saved.Records, savedNginxRecord{
			Bytes: s.pos.bytes - r.start.bytes, Tags: s.pos.tags - r.start.tags, Lines: s.lines - r.line,
			Tagged: r.tagged, End: max(0, r.end-begin), Path: r.path,
		})
	}
	data, _ := json.Marshal(saved) // bytes and numbers can always be encoded
	return string(data)
}

var errHeld = errors.New("what was held does not fit together")

// Hold implements Settler.
func (p *nginxError) Hold(held string) error {
	p.shadow, p.user = nginxShadow{text: p.shadow.text[:0], held: p.shadow.held[:0]}, p.user[:0]
	if held == "" {
		return nil
	}
	var saved savedNginx
	err := json.Unmarshal([]byte(held), &saved)
	if err == nil && !saved.fits() {
		err = errHeld
	}
	if err != nil {
		return fmt.Errorf("what an nginx log's parser held: %w", err)
	}
	p.user = append(p.user, saved.User...)
	s := &p.shadow
	s.text = append(s.text, saved.Text...)
	for _, r := range saved.Records {
		s.held = append(s.held, heldRecord{
			start: logPlace{-r.Bytes, -r.Tags}, line: -r.Lines, tagged: r.Tagged, end: r.End, path: r.Path,
		})
	}
	return nil
}

// fits says whether the records divide the text.
func (s *savedNginx) fits() bool {
	end := 0
	for _, r := range s.Records {
		if r.End < end || r.Path > pathForeign || r.Bytes < 0 || r.Tags < 0 || r.Tags > r.Bytes || r.Lines < 0 {
			return false
		}
		end = r.End
	}
	return end == len(s.Text) && len(s.User) <= maxNginxRecord
}
