package record_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// keep writes the history of a run, without what tells of the machine it was recorded on.
func (s *studio) keep(name string, r run) {
	t := s.t
	t.Helper()
	history := &historypb.History{}
	events := s.server.Client().GetWorkflowHistory(t.Context(), r.id, r.runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(t, err)
		history.Events = append(history.Events, e)
	}
	require.NotEmpty(t, history.Events)
	raw, err := protojson.Marshal(history)
	require.NoError(t, err)
	var tree any
	require.NoError(t, json.Unmarshal(raw, &tree))
	tree = s.scrub(tree)
	neat, err := json.MarshalIndent(tree, "", " ")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(*out, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(*out, name+".json"), append(neat, '\n'), 0o644))
	t.Logf("%d events", len(history.Events))
}

// scrub replaces what names the machine, its folders, processes and programs.
func (s *studio) scrub(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v["kind"] == "TASK_QUEUE_KIND_STICKY" {
			v["name"] = "sticky"
		}
		for key, value := range v {
			switch key {
			case "identity":
				v[key] = "shivx"
			case "buildId", "binaryChecksum":
				v[key] = "recorded"
			case "data":
				v[key] = s.scrubPayload(value)
			default:
				v[key] = s.scrub(value)
			}
		}
	case []any:
		for i, value := range v {
			v[i] = s.scrub(value)
		}
	case string:
		return s.neutral(v)
	}
	return v
}

// scrubPayload scrubs the data of a payload.
func (s *studio) scrubPayload(v any) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	plain, err := base64.StdEncoding.DecodeString(text)
	require.NoError(s.t, err)
	return base64.StdEncoding.EncodeToString([]byte(s.neutral(string(plain))))
}

// neutral puts the folders where a reader expects them.
func (s *studio) neutral(text string) string {
	return strings.NewReplacer(s.agent.Dir, "/srv/shivx", s.dir, "/srv").Replace(text)
}
