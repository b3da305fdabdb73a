package guardian

import (
	"bytes"
	"encoding/gob"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestTheSavedStateHasAllThatIsInForce(t *testing.T) {
	at := time.Date(2026, 11, 23, 8, 0, 0, 123456789, time.UTC)
	p := netip.MustParsePrefix("203.0.113.7/32")
	change := shivx.ModeChange{Host: "h1", From: shivx.DefenseNormal, To: shivx.DefenseLockdown, By: "ann", Reason: "drill", At: at, Until: at.Add(time.Hour), Unconfirmed: true}
	s := newState()
	s.Isolations[p] = shivx.Isolation{
		Source: "203.0.113.7", Since: at, Until: at.Add(time.Minute), Type: shivx.ThreatSpraying, Reason: "r", Offence: 2, By: shivx.Guardian,
		Host: "h1", Threat: "threat/1", Changed: at, Lifted: true, Why: "w",
	}
	s.Offences[p] = offence{Count: 2, Last: at}
	s.Lockdown, s.Alert, s.Serious = change, change, []time.Time{at}
	s.count(shivx.ThreatSpraying, shivx.ThreatHigh)
	s.Tampered["/bin/x"] = "content"
	for v, i := reflect.ValueOf(s), 0; i < v.NumField(); i++ {
		require.False(t, v.Field(i).IsZero(), "%s is not in this test", v.Type().Field(i).Name)
	}

	var file bytes.Buffer
	require.NoError(t, gob.NewEncoder(&file).Encode(s.saved()))
	var read savedState
	require.NoError(t, gob.NewDecoder(&file).Decode(&read))
	got := newState()
	got.load(read)
	require.Equal(t, s, got)
}
