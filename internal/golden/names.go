package golden

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// ErrName says that a golden cannot have a name.
var ErrName = errors.New("this name cannot be used")

// goodName begins with a letter: an id, or the beginning of one, does not.
var goodName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,63}$`)

// CheckName returns ErrName for a name by which a golden could not be found; "" is none.
func CheckName(name string) error {
	switch {
	case name == "":
		return nil
	case name == shivx.GoldenLatest:
		return shivx.Hint(fmt.Errorf("%w: %q always means the newest", ErrName, name), "choose another, such as before-upgrade")
	case !goodName.MatchString(name):
		return shivx.Hint(fmt.Errorf("%w: %q", ErrName, name), "write a letter, then up to 63 letters, digits, dots, dashes or underscores, such as before-upgrade")
	}
	return nil
}

// freeName refuses a name that another backup of the set has: neither could be found by it. Snapshots are named by
// machines, and one of them is as good as another.
func freeName(ours []store.Info, o Order) error {
	if o.Name == "" || o.Kind != shivx.GoldenKindBackup {
		return nil
	}
	if err := CheckName(o.Name); err != nil {
		return err
	}
	for _, i := range ours {
		if i.Header.Name == o.Name && i.Header.Kind == format.Kind(o.Kind) {
			return shivx.Hint(fmt.Errorf("%w: the golden %s of %s has the name %s already", ErrName, i.ID, o.Set, o.Name),
				"choose another, or remove that one: shivx golden prune --remove "+o.Set+"/"+i.ID)
		}
	}
	return nil
}
