package builtin

import (
	"path/filepath"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// sacred are folders of the system; nothing in them is ever removed.
var sacred = []string{
	"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
}

// crossroads are folders that hold what belongs to many; a rule names a folder further below.
var crossroads = []string{
	"/", "/home", "/home/*", "/root", "/media", "/mnt", "/opt", "/snap", "/srv", "/var", "/var/lib", "/var/spool",
}

// checkFolder refuses a folder of a rule that cannot be meant.
func checkFolder(folder string) error {
	if !cleanPath(folder) {
		return sdk.Failf("write the whole path, without .. and without / at its end", "%q is not a plain path", folder)
	}
	for _, s := range sacred {
		if below(folder, s) {
			return sdk.Failf("name a folder that holds nothing but what may go", "%s belongs to the system: nothing in %s is removed", folder, s)
		}
	}
	for _, c := range crossroads {
		if ok, _ := filepath.Match(c, folder); ok {
			return sdk.Failf("name the folder below it that holds nothing but what may go", "%s holds what belongs to many", folder)
		}
	}
	return nil
}

// below says whether path is folder or lies in it.
func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// guard refuses a folder that holds one of the agent's own, or lies in one.
func guard(folder string, own []string) error {
	for _, o := range own {
		for _, name := range []string{o, realPath(o)} {
			if below(folder, name) || below(name, folder) {
				return sdk.Failf("name another folder; shivx golden prune and the limits of the configuration keep the agent's own small",
					"%s holds files of the agent itself, or lies among them: %s", folder, o)
			}
		}
	}
	return nil
}

// realPath follows links, as far as the path exists.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}

// wide says whether a pattern matches whatever there is.
func wide(match string) bool { return strings.Trim(match, "*/.?") == "" }
