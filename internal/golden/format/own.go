package format

import "strings"

// Prefixes of the names of folders that a restore makes beside or in the roots: the staging folder
// and, where it was asked for, the old state. They belong to whoever restores and are closed to all
// others. No golden has them, and no restore takes them for state.
const (
	StagePrefix = ".shivx-restore-"
	KeptPrefix  = ".shivx-kept-"
)

// OwnName says whether a name is one that restores give to their folders.
func OwnName(name string) bool {
	return strings.HasPrefix(name, StagePrefix) || strings.HasPrefix(name, KeptPrefix)
}

// OwnFolder says whether a folder of such a name was made by a restore of the user uid, by its owner
// and its permission bits; those that others made under such a name are state like all else.
func OwnFolder(name string, owner, mode uint32, uid int) bool {
	return OwnName(name) && int(owner) == uid && mode&0o077 == 0
}
