package golden

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	engine "github.com/shivx/shivx/internal/golden"
)

// TestLongErrorsAreShort also in the history of their run, in which the words of each error within stand.
func TestLongErrorsAreShort(t *testing.T) {
	faults := make([]error, 5000)
	for i := range faults {
		faults[i] = fmt.Errorf("/srv/shop/%d.json:1:1: unexpected end – of input", i)
	}
	whole := shivx.Hint(fmt.Errorf("%w: %w", engine.ErrInvalid, errors.Join(faults...)), "repair them")
	for range 5 {
		whole = fmt.Errorf("validate: %w", whole)
	}
	err := classed(t.Context(), whole)
	require.Less(t, len(err.Error()), 10<<10)
	require.Contains(t, err.Error(), "bytes more")
	require.Contains(t, err.Error(), "repair them")
	require.Contains(t, err.Error(), activities.ErrNotValid)
	require.ErrorIs(t, err, engine.ErrInvalid)
	require.NotErrorIs(t, err, context.Canceled)
	require.Equal(t, "repair them", shivx.HintOf(err))
	require.Less(t, len(Plain(err).Error()), 5<<10)
	failure := temporal.GetDefaultFailureConverter().ErrorToFailure(err)
	require.Less(t, proto.Size(failure), 10<<10)

	rec := step{}.record(shivx.EventStepFailed, time.Now(), whole.Error(), nil)
	require.Less(t, len(rec.Message), 5<<10)
	require.Equal(t, "as it is", short("as it is"))
	require.Equal(t, strings.Repeat("–", 1365)+"… and 6 bytes more", short(strings.Repeat("–", 1367)))
}
