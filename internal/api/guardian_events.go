package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// reportedEvent is an event that an application tells of.
type reportedEvent struct {
	// Source is the address of whoever did it.
	Source string `json:"source"`
	// Kind is request, failure, success, probe or denied.
	Kind string `json:"kind"`
	// Count is how often it happened; 0 is once.
	Count  int    `json:"count"`
	User   string `json:"user"`
	Method string `json:"method"`
	Path   string `json:"path"`
	// Status is that of HTTP, 0 when there is none.
	Status int    `json:"status"`
	Agent  string `json:"agent"`
	// At is when; none: now.
	At time.Time `json:"at"`
}

const (
	// maxBatch is the largest body of events, in bytes.
	maxBatch = 1 << 20
	// maxEvents is how many events one request may have.
	maxEvents = 1000
	// maxCount is how much one event may stand for.
	maxCount = 1000
	// The years between which a time can be counted in nanoseconds.
	firstYear, lastYear = 1970, 2261
)

// report takes one event, or a list.
func (s *Server) report(w http.ResponseWriter, r *http.Request, h holder) {
	if !h.events && h.role < roleOperator {
		problem(w, http.StatusForbidden, "the token is not for events", h.name+" may report none; api.tokens[].events in the agent's configuration grants that")
		return
	}
	events, err := readEvents(w, r)
	if err != nil {
		problem(w, http.StatusBadRequest, "not events", err.Error())
		return
	}
	s.parts.Guardian.Report(events)
	w.WriteHeader(http.StatusNoContent)
}

// readEvents reads one event or a list of them. One that is wrong refuses all, with its place: a sender
// that is told of half of its errors repeats the other half.
func readEvents(w http.ResponseWriter, r *http.Request) ([]guardian.Reported, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBatch))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	body = bytes.TrimSpace(body)
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var list []reportedEvent
	if bytes.HasPrefix(body, []byte("[")) {
		err = d.Decode(&list)
	} else {
		list = make([]reportedEvent, 1)
		err = d.Decode(&list[0])
	}
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read the body: there is more than one JSON value")
	}
	if len(list) > maxEvents {
		return nil, fmt.Errorf("%d events; one request may have %d", len(list), maxEvents)
	}
	out := make([]guardian.Reported, len(list))
	for i, e := range list {
		if out[i], err = e.check(); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	return out, nil
}

func (e reportedEvent) check() (guardian.Reported, error) {
	out := guardian.Reported{Count: e.Count, User: e.User, Method: e.Method, Path: e.Path, Status: e.Status, Agent: e.Agent, At: e.At}
	addr, err := netip.ParseAddr(e.Source)
	if err != nil {
		return out, fmt.Errorf("%q is no address", clip(e.Source, maxKey))
	}
	out.Source = addr.Unmap().WithZone("")
	kind, ok := logs.KindOf(e.Kind)
	if !ok {
		return out, fmt.Errorf("%q is no kind; write request, failure, success, probe or denied", clip(e.Kind, maxKey))
	}
	out.Kind = kind
	switch {
	case e.Count < 0 || e.Count > maxCount:
		return out, fmt.Errorf("the count %d is not between 0 and %d", e.Count, maxCount)
	case e.Status != 0 && (e.Status < 100 || e.Status > 599):
		return out, fmt.Errorf("%d is no status of HTTP", e.Status)
	case !e.At.IsZero() && (e.At.Year() < firstYear || e.At.Year() > lastYear):
		return out, fmt.Errorf("the time %s is not of our age", e.At.Format(time.RFC3339))
	}
	return out, nil
}
