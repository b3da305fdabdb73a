package config

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// OptionsJSON returns the options as one JSON object, "{}" when there are none.
func (u Use) OptionsJSON() (json.RawMessage, error) { return optionsJSON(u.Plugin, u.Options) }

func optionsJSON(plugin string, options map[string]any) (json.RawMessage, error) {
	if len(options) == 0 {
		return json.RawMessage("{}"), nil
	}
	data, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("encode the options of plugin %q: %w", plugin, err)
	}
	return data, nil
}

// free decodes a map whose keys belong to a plugin, so that it can be written as JSON.
func (d *decoder) free(n *node) map[string]any {
	out := map[string]any{}
	for _, p := range n.pairs {
		out[p.key.text] = d.freeValue(p.value)
	}
	return out
}

func (d *decoder) freeValue(n *node) any {
	switch n.kind {
	case kindMap:
		return d.free(n)
	case kindList:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = d.freeValue(item)
		}
		return items
	case kindBool:
		return strings.EqualFold(n.text, "true")
	case kindInt:
		d.octal(n)
		return wholeNumber(n.text)
	case kindFloat:
		f, err := strconv.ParseFloat(n.text, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			d.add(n, n.text+" is not a number that JSON can hold", "put it in quotes if it is text")
		}
		return f
	case kindText:
		return n.text
	default: // kindNull
		return nil
	}
}

// wholeNumber keeps all digits of a number, whatever its size.
func wholeNumber(text string) any {
	i, ok := bigInt(text)
	switch {
	case !ok:
		return text
	case i.IsInt64():
		return i.Int64()
	}
	return json.Number(i.String())
}
