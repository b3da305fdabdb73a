package builtin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// keptFile is where a plugin that sheds load keeps what it found on target before its effect. It
// belongs to the component, so that two hooks on one target, each with a folder or a component
// of its own, give back what each of them found.
func keptFile(req sdk.Request, plugin, target string) (string, error) {
	sum := sha256.Sum256([]byte(target))
	path := workFile(req, plugin+"-"+hex.EncodeToString(sum[:6])+".json")
	if path == "" {
		return "", sdk.Failf("this is a fault of the caller: it gave the plugin no folder of its own",
			"plugin %s has nowhere to keep the old values, without which nothing could be put back", plugin)
	}
	return path, nil
}

// keepJSON makes v durable in the file path before it returns.
func keepJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("keep the old values: %w", err)
	}
	return keepOld(path, data)
}

// readKept reads what keepJSON wrote; there is nothing when the file does not exist.
func readKept(path string, v any) (found bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return false, failed(fmt.Errorf("read the kept values in %s: %w", path, err),
			"set the values by hand to what they should be, then remove the file")
	}
	return true, nil
}

// bootID names the run of the kernel; what lasts until the next boot is gone when it differs.
func (h *host) bootID() (string, error) {
	data, err := os.ReadFile(h.fs.root + "/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("which boot of the machine this is: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// settable is the hint for a name that is none of those that can be set.
func settable[V any](name string, all map[string]V) string {
	names := slices.Sorted(maps.Keys(all))
	if near := sdk.Nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "these can be set: " + strings.Join(names, ", ")
}

// plainValue returns the text of an option that is text or a whole number.
func plainValue(raw json.RawMessage) (string, bool) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return strings.TrimSpace(text), true
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil && !strings.ContainsAny(number.String(), ".eE") {
		return number.String(), true
	}
	return "", false
}
