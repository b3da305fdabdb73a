package guardian

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/enforce"
)

// The mode has two tracks that know nothing of each other: the lockdown, and the alert (ELEVATED or not).
// Each has its last change, and of two changes of one track the later holds. What is in force is the
// stricter of both.

// Mode returns the mode in force on this host and the change that led to it.
func (g *Guardian) Mode() shivx.ModeChange {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mode(g.o.Now())
}

// mode is the strictest of what holds. The caller holds mu.
func (g *Guardian) mode(now time.Time) shivx.ModeChange {
	switch {
	case g.lockedDown(now):
		return g.state.Lockdown
	case g.elevated(now):
		return g.state.Alert
	}
	c := g.state.Alert
	if g.state.Lockdown.At.After(c.At) {
		c = g.state.Lockdown
	}
	c.To, c.Until, c.Unconfirmed = shivx.DefenseNormal, time.Time{}, false
	return c
}

// lockedDown says whether a lockdown is in force. The caller holds mu, or nothing runs yet.
func (g *Guardian) lockedDown(now time.Time) bool {
	l := g.state.Lockdown
	return l.To == shivx.DefenseLockdown && (l.Until.IsZero() || now.Before(l.Until))
}

func (g *Guardian) elevated(now time.Time) bool {
	return g.state.Alert.To == shivx.DefenseElevated && now.Before(g.state.Alert.Until)
}

// lockdownFor is the lockdown as enforcers are given it.
func (g *Guardian) lockdownFor(now time.Time) enforce.Lockdown {
	if !g.lockedDown(now) {
		return enforce.Lockdown{}
	}
	return enforce.Lockdown{On: true, Until: g.state.Lockdown.Until}
}

// SetMode changes the mode because a person asks for it. A lockdown that is not confirmed in time ends
// by itself: nobody locks themselves out for good.
func (g *Guardian) SetMode(ctx context.Context, r shivx.ModeRequest) (shivx.ModeChange, error) {
	if err := checkMode(r); err != nil {
		return shivx.ModeChange{}, err
	}
	defer g.recorded(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	if r.Mode == shivx.DefenseLockdown {
		g.lockDown(r.By, r.Why, r.ConfirmWithin.Std(), now)
		return g.mode(now), nil
	}
	if g.lockedDown(now) {
		g.changeLockdown(shivx.DefenseNormal, r.By, r.Why, later(now.UTC(), g.state.Lockdown.At), shivx.ActionLockdownEnded)
	}
	switch held := g.elevated(now); {
	case r.Mode == shivx.DefenseElevated && !held:
		g.elevate(r.By, r.Why, now)
	case r.Mode == shivx.DefenseNormal && held:
		g.calm(r.By, r.Why, now)
	}
	return g.mode(now), nil
}

func checkMode(r shivx.ModeRequest) error {
	if _, err := shivx.ParseDefenseMode(string(r.Mode)); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(r.By) == "":
		return shivx.Hint(fmt.Errorf("a change of the mode needs to say who asks for it"), `set "by" to your name`)
	case strings.TrimSpace(r.Why) == "":
		return shivx.Hint(fmt.Errorf("a change of the mode needs a reason"), `set "why" to one line`)
	case r.ConfirmWithin < 0 || r.ConfirmWithin.Std() > shivx.MaxTerm:
		return shivx.Hint(fmt.Errorf("%s is no time to confirm in", r.ConfirmWithin), `set "confirm_within" to a time such as "10m"`)
	}
	return nil
}

// lockDown refuses everybody but the allow list. The caller holds mu.
func (g *Guardian) lockDown(by, why string, confirm time.Duration, now time.Time) {
	c := shivx.ModeChange{To: shivx.DefenseLockdown, By: by, Reason: why, At: later(later(now.UTC(), g.state.Lockdown.At), g.fleetRestored)}
	if confirm > 0 {
		c.Until, c.Unconfirmed = now.UTC().Add(confirm), true
	}
	g.putLockdown(c, shivx.ActionLockdown)
	g.tell(aboutLockdown, fmt.Sprintf("LOCKDOWN of %s: %s", g.o.Host, why), lockdownHint(c))
}

func lockdownHint(c shivx.ModeChange) string {
	if c.Unconfirmed {
		return fmt.Sprintf("it ends by itself at %s unless you confirm it: shivx guardian confirm; end it now: shivx guardian restore --lockdown",
			c.Until.Format(time.RFC3339))
	}
	return "end it with shivx guardian restore --lockdown, from an address on the allow list or through Temporal"
}

func (g *Guardian) changeLockdown(to shivx.DefenseMode, by, why string, at time.Time, action shivx.Action) {
	g.putLockdown(shivx.ModeChange{To: to, By: by, Reason: why, At: at}, action)
}

// putLockdown takes a change of the lockdown, if it is the later one. The caller holds mu.
func (g *Guardian) putLockdown(c shivx.ModeChange, action shivx.Action) {
	now := g.o.Now()
	c.From = shivx.DefenseNormal
	if g.state.Lockdown.To == shivx.DefenseLockdown {
		c.From = shivx.DefenseLockdown
	}
	if c.Host == "" {
		c.Host = g.o.Host
	}
	if c.From == shivx.DefenseNormal && c.To == shivx.DefenseNormal || c.At.Before(g.state.Lockdown.At) {
		return
	}
	g.state.Lockdown = c
	if lockdown := g.lockdownFor(now); !lockdown.Equal(g.set.Lockdown()) {
		g.set.SetLockdown(lockdown)
		delta := enforce.Delta{Lockdown: &lockdown}
		g.board.Apply(delta)
		g.stream.Note(delta, now)
	}
	g.modeChanged(c, action, now)
}

// elevate tightens the thresholds for a window. The caller holds mu.
func (g *Guardian) elevate(by, why string, now time.Time) {
	at := later(now.UTC(), g.state.Alert.At)
	g.putAlert(shivx.ModeChange{To: shivx.DefenseElevated, By: by, Reason: why, At: at, Until: now.UTC().Add(g.o.Rules.Defense.Window)}, shivx.ActionElevated)
}

// calm ends ELEVATED, and what was counted towards it. The caller holds mu.
func (g *Guardian) calm(by, why string, now time.Time) {
	g.state.Serious = nil
	g.putAlert(shivx.ModeChange{To: shivx.DefenseNormal, By: by, Reason: why, At: later(now.UTC(), g.state.Alert.At)}, shivx.ActionCalmed)
}

func (g *Guardian) putAlert(c shivx.ModeChange, action shivx.Action) {
	c.From = shivx.DefenseNormal
	if g.state.Alert.To == shivx.DefenseElevated {
		c.From = shivx.DefenseElevated
	}
	if c.Host == "" {
		c.Host = g.o.Host
	}
	g.state.Alert = c
	g.modeChanged(c, action, g.o.Now())
}

// modeChanged puts the thresholds in force and records the change. The caller holds mu.
func (g *Guardian) modeChanged(c shivx.ModeChange, action shivx.Action, now time.Time) {
	g.tighten(now)
	g.awaken()
	g.records.put(shivx.GuardianRecord{
		// Both tracks may become NORMAL in one moment: From tells them apart.
		EventID:   fmt.Sprintf("mode/%s/%s/%s/%d", g.o.Host, c.From, c.To, c.At.UnixNano()),
		Timestamp: now.UTC(), EventType: shivx.EventMode, Source: "host:" + g.o.Host, Details: c, ActionTaken: action,
	})
	g.log.Warn("defense mode", "from", c.From, "to", c.To, "by", c.By, "reason", c.Reason, "until", c.Until)
}

// tighten sets the thresholds that the mode asks for. The caller holds mu.
func (g *Guardian) tighten(now time.Time) {
	tight := g.lockedDown(now) || g.elevated(now)
	if tight == g.tightened {
		return
	}
	g.tightened = tight
	factor := 1.0
	if tight {
		factor = float64(g.o.Rules.Rules.ElevatedPercent) / 100
	}
	g.detector.Tighten(factor)
}

// ErrNoLockdown: there is no lockdown to confirm.
var ErrNoLockdown = fmt.Errorf("no lockdown waits to be confirmed")

// Confirm keeps a lockdown that would end by itself.
func (g *Guardian) Confirm(ctx context.Context, by string) (shivx.ModeChange, error) {
	defer g.recorded(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	l := g.state.Lockdown
	if !g.lockedDown(now) || !l.Unconfirmed {
		return shivx.ModeChange{}, shivx.Hint(ErrNoLockdown, "shivx guardian status shows the mode")
	}
	g.changeLockdown(shivx.DefenseLockdown, by, "confirmed: "+l.Reason, later(now.UTC(), l.At), shivx.ActionLockdown)
	return g.state.Lockdown, nil
}

// countSerious counts a threat of the level high or critical, which may make the mode ELEVATED or keep
// it so. The caller holds mu.
func (g *Guardian) countSerious(now time.Time) {
	g.state.serious(now)
	rules, s := g.o.Rules.Defense, g.state.Serious
	if len(s) < rules.Threats || now.Sub(s[len(s)-rules.Threats]) > rules.Window {
		return
	}
	if g.elevated(now) {
		g.state.Alert.Until = now.UTC().Add(rules.Window) // kept so; not worth a record each time
		return
	}
	g.elevate(shivx.Guardian, fmt.Sprintf("%d threats of the level high or critical within %s", rules.Threats, rules.Window), now)
}

// FleetMode takes the mode of the fleet, each track by itself.
func (g *Guardian) FleetMode(f shivx.FleetMode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	if f.RestoredAt.After(g.fleetRestored) {
		g.fleetRestored = f.RestoredAt
	}
	g.followLockdown(f, now)
	g.followAlert(f, now)
}

func (g *Guardian) followLockdown(f shivx.FleetMode, now time.Time) {
	local := g.state.Lockdown
	switch {
	case f.To == shivx.DefenseLockdown && f.At.After(local.At):
		c := f.ModeChange
		if c.Until.IsZero() && c.By == shivx.Guardian && g.automaticConfirm() > 0 {
			// No person has asked for it, and none can get in here.
			c.Until, c.Unconfirmed = now.UTC().Add(g.automaticConfirm()), true
		}
		g.putLockdown(c, shivx.ActionFollowed)
		if !local.At.Equal(f.At) && g.lockedDown(now) {
			g.tell(aboutLockdown, fmt.Sprintf("LOCKDOWN of %s with the fleet: %s", g.o.Host, f.Reason), lockdownHint(c))
		}
	case local.To == shivx.DefenseLockdown && f.To != shivx.DefenseLockdown && f.RestoredAt.After(local.At):
		g.changeLockdown(shivx.DefenseNormal, f.By, "the fleet's lockdown was ended: "+f.Reason, f.RestoredAt, shivx.ActionFollowed)
	}
}

// followAlert follows ELEVATED, unless it was calmed here after it began, and a person's word that all is
// calm.
func (g *Guardian) followAlert(f shivx.FleetMode, now time.Time) {
	a := &g.state.Alert
	switch {
	case f.To != shivx.DefenseElevated:
		if g.elevated(now) && f.RestoredAt.After(a.At) {
			g.calm(f.By, "the fleet is calm: "+f.Reason, now)
		}
	case !now.Before(f.Until):
	case g.elevated(now):
		if f.Until.After(a.Until) {
			a.Until = f.Until
		}
	case f.At.After(a.At) || a.By == shivx.Guardian && f.Until.After(a.At):
		c := f.ModeChange
		c.At = later(f.At, a.At)
		g.putAlert(c, shivx.ActionFollowed)
	}
}

// tick ends what is over. Its caller holds nothing.
func (g *Guardian) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	g.expire(now)
	if l := g.state.Lockdown; l.To == shivx.DefenseLockdown && !g.lockedDown(now) {
		// Of that lockdown alone: one that was confirmed elsewhere in time, or that another host keeps, is later
		// by a microsecond at least, and holds.
		g.changeLockdown(shivx.DefenseNormal, shivx.Guardian, "nobody has confirmed the lockdown in time", l.At.Add(time.Nanosecond), shivx.ActionLockdownEnded)
		g.tell(aboutLockdown, fmt.Sprintf("the LOCKDOWN of %s has ended: nobody has confirmed it", g.o.Host), "begin it anew with shivx guardian lockdown, and confirm it")
	}
	if g.state.Alert.To == shivx.DefenseElevated && !g.elevated(now) {
		g.putAlert(shivx.ModeChange{To: shivx.DefenseNormal, By: shivx.Guardian, At: later(now.UTC(), g.state.Alert.At),
			Reason: "there was no serious threat for " + g.o.Rules.Defense.Window.String()}, shivx.ActionCalmed)
	}
}

// due is when tick has something to do next.
func (g *Guardian) due() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	due := g.o.Now().Add(time.Hour)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(due) {
			due = t
		}
	}
	sooner(g.nextEnd)
	if g.state.Lockdown.To == shivx.DefenseLockdown {
		sooner(g.state.Lockdown.Until)
	}
	if g.state.Alert.To == shivx.DefenseElevated {
		sooner(g.state.Alert.Until)
	}
	return due
}
