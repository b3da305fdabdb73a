package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/shivx/shivx"
)

// Resolve returns the secret that ref stands for: the variable of "env:NAME", the content of
// "file:PATH" without its last line break, or ref itself when it is neither.
// It is called when the secret is used, so that a changed one needs no restart.
func Resolve(ref string) (string, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		value, set := os.LookupEnv(name)
		if !set {
			return "", shivx.Hint(fmt.Errorf("resolve %s: the environment variable is not set", ref),
				"set "+name+" in the environment of the agent and restart it")
		}
		return value, nil
	}
	path, ok := strings.CutPrefix(ref, "file:")
	if !ok {
		return ref, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", shivx.Hint(fmt.Errorf("resolve %s: %w", ref, err),
			"check that the file exists and that the agent's user may read it")
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// isReference says whether s stands for a secret kept elsewhere.
func isReference(s string) bool {
	return strings.HasPrefix(s, "env:") || strings.HasPrefix(s, "file:")
}

// checkReference returns what is wrong with a reference, or "".
func checkReference(s string) string {
	if name, ok := strings.CutPrefix(s, "env:"); ok && !variableName.MatchString(name) {
		return "write env:NAME with the name of an environment variable"
	}
	if path, ok := strings.CutPrefix(s, "file:"); ok && !strings.HasPrefix(path, "/") {
		return "write file:PATH with an absolute path"
	}
	return ""
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
