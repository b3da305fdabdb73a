package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// entry of the journal as "journalctl --output=json" writes it. A field is a string, a list of numbers
// when it is no text, null when it is too large, and a list of those when an entry has several of it.
type entry struct {
	Cursor string
	// Time is when it was received, in microseconds since 1970.
	Time       string
	Identifier string
	PID        string
	// Message is nil when there is none.
	Message []byte
}

func decodeEntry(data []byte) (entry, error) {
	var raw struct {
		Cursor     string          `json:"__CURSOR"`
		Time       string          `json:"__REALTIME_TIMESTAMP"`
		Identifier json.RawMessage `json:"SYSLOG_IDENTIFIER"`
		Comm       json.RawMessage `json:"_COMM"`
		SyslogPID  json.RawMessage `json:"SYSLOG_PID"`
		PID        json.RawMessage `json:"_PID"`
		Message    json.RawMessage `json:"MESSAGE"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return entry{}, fmt.Errorf("an entry of the journal: %w", err)
	}
	e := entry{Cursor: raw.Cursor, Time: raw.Time, Message: field(raw.Message)}
	e.Identifier, e.PID = string(field(raw.Identifier)), string(field(raw.SyslogPID))
	if e.Identifier == "" {
		e.Identifier = string(field(raw.Comm))
	}
	if e.PID == "" {
		e.PID = string(field(raw.PID))
	}
	return e, nil
}

// field is the value of a field; the first one of several.
func field(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return nil
	}
	if raw[0] == '"' {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return []byte(text)
		}
		return nil
	}
	var numbers []uint16
	if json.Unmarshal(raw, &numbers) == nil && numbers != nil {
		b := make([]byte, len(numbers))
		for i, n := range numbers {
			b[i] = byte(n)
		}
		return b
	}
	var several []json.RawMessage
	if json.Unmarshal(raw, &several) == nil && len(several) > 0 && several[0] != nil {
		return field(several[0])
	}
	return nil
}

// line is the entry as a log file would have it, without a time; bare: its message alone. Line breaks
// within the message become spaces: what follows one is no line of its own.
func (e entry) line(bare bool) []byte {
	message := oneLine(e.Message)
	if bare || e.Identifier == "" {
		return message
	}
	return appendTagged(make([]byte, 0, len(e.Identifier)+len(e.PID)+len(message)+4), e.Identifier, e.PID, message)
}

// appendTagged appends "program[pid]: message".
func appendTagged(line []byte, program, pid string, message []byte) []byte {
	line = append(line, program...)
	if pid != "" {
		line = append(append(append(line, '['), pid...), ']')
	}
	return append(append(line, ": "...), message...)
}

// oneLine replaces the line breaks within b and drops those at its end.
func oneLine(b []byte) []byte {
	b = bytes.TrimRight(b, "\r\n\x00")
	if bytes.IndexByte(b, '\n') < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte{'\n'}, []byte{' '})
}
