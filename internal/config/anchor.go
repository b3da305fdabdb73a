package config

import (
	"path/filepath"
	"strings"
)

// anchored returns a plugin option with every text that begins with "./" or "../" made a path
// below the folder of the configuration file, as paths elsewhere in the file are. Other texts
// stay: only the plugin knows which of them are paths.
func anchored(v any, dir string) any {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "./") || strings.HasPrefix(v, "../") {
			return filepath.Join(dir, v)
		}
	case []any:
		for i := range v {
			v[i] = anchored(v[i], dir)
		}
	case map[string]any:
		for k := range v {
			v[k] = anchored(v[k], dir)
		}
	}
	return v
}
