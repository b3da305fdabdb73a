package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"
)

// How many messages to people are kept.
const (
	toldKept   = 20
	untoldKept = 20
)

// Message is something to tell people.
type Message struct {
	Key  string    `json:"key"`
	Text string    `json:"text"`
	Hint string    `json:"hint,omitempty"`
	At   time.Time `json:"at"`
}

// Messages is the part of an entity's state about what people are told.
type Messages struct {
	// Told is what people were told, the latest; Untold is what they are still to be told.
	Told   []Message `json:"told,omitempty"`
	Untold []Message `json:"untold,omitempty"`
}

// teller tells people what their entity has to say, in order, beside the main loop of the entity.
type teller struct {
	messages *Messages
	telling  string // key of the message that people are being told just now
	said     int    // grows with every message to people
	// unheard is true while people, who could not be reached, are to be told again later.
	unheard bool
}

// say has people told, after what they are told before. Of too many messages the oldest is forgotten.
func (t *teller) say(m Message) {
	all := append(t.messages.Untold, m)
	t.said++
	t.unheard = false
	if len(all) > untoldKept {
		i := 0
		if all[0].Key == t.telling {
			i = 1
		}
		all = slices.Delete(all, i, i+1)
	}
	t.messages.Untold = all
}

// idle says whether nothing is being said, and nothing waits that could be said now.
func (t *teller) idle() bool {
	return t.telling == "" && (len(t.messages.Untold) == 0 || t.unheard)
}

// tellPeople tells people what they are to be told, the oldest first, until ctx ends. send says whether
// somebody was reached, and after is told so. The main loop of the entity does not hold it up.
func (t *teller) tellPeople(ctx workflow.Context, send func(workflow.Context, Message) bool, after func(ctx workflow.Context, heard bool)) {
	for workflow.Await(ctx, func() bool { return len(t.messages.Untold) > 0 }) == nil {
		said := t.said
		if t.tellOldest(ctx, send, after) {
			continue
		}
		t.unheard = t.said == said
		_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
			Timeout: tellAgain, TimerOptions: workflow.TimerOptions{Summary: "tell people again, who could not be reached"},
		}, func() bool { return t.said != said })
		if err != nil {
			return
		}
		t.unheard = false
	}
}

func (t *teller) tellOldest(ctx workflow.Context, send func(workflow.Context, Message) bool, after func(ctx workflow.Context, heard bool)) bool {
	m := t.messages.Untold[0]
	t.telling = m.Key
	heard := send(ctx, m)
	t.telling = ""
	if heard {
		t.messages.Untold = slices.DeleteFunc(t.messages.Untold, func(other Message) bool { return other.Key == m.Key })
		m.At = workflow.Now(ctx)
		t.messages.Told = latest(append(t.messages.Told, m), toldKept)
	}
	after(ctx, heard)
	return heard
}
