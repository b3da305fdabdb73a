package abuse

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
)

// keptFile is the name of the list below Options.Dir.
const keptFile = "contained.json"

// Contained is something that is stopped or limited until it is let go.
type Contained struct {
	Source string `json:"source"`
	Budget string `json:"budget"`
	// Action is frozen or limited.
	Action shivx.Action `json:"action"`
	Reason string       `json:"reason"`
	Since  time.Time    `json:"since"`
	// Cgroup is the path of a cgroup that is frozen or limited as a whole.
	Cgroup string `json:"cgroup,omitempty"`
	// Processes are those that were stopped one by one.
	Processes []identity `json:"processes,omitempty"`
	// Limits are the control files that were changed.
	Limits []setting `json:"limits,omitempty"`
	// Begun is true while the processes are being stopped: after a crash the list may lack some.
	Begun bool `json:"begun,omitempty"`
}

// setting is a control file of a cgroup.
type setting struct {
	File string `json:"file"`
	// Old is what was in it, New what it reads since.
	Old string `json:"old"`
	New string `json:"new"`
}

// kept is the list of what is contained, on disk too.
type kept struct {
	path string
	// boot is this start of the machine; nothing that is contained outlives it.
	boot string
	list []Contained
	held map[identity]bool
}

type keptFormat struct {
	Version   int         `json:"version"`
	Boot      string      `json:"boot"`
	Contained []Contained `json:"contained"`
}

// openKept reads the list. One that is damaged is set aside, with a word in the log: the guardian must
// start all the same.
func openKept(dir, root string, log *slog.Logger) (*kept, error) {
	boot, _ := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	k := &kept{boot: strings.TrimSpace(string(boot)), held: map[identity]bool{}}
	if dir == "" {
		return k, nil
	}
	k.path = filepath.Join(dir, keptFile)
	data, err := os.ReadFile(k.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil
	case err != nil:
		return nil, shivx.Hint(fmt.Errorf("read what is frozen or limited: %w", err), "let the agent's user read "+k.path)
	}
	var f keptFormat
	if err := json.Unmarshal(data, &f); err != nil || f.Version != 1 {
		aside := k.path + ".damaged"
		log.Error("the list of what is frozen or limited is lost", "error", err, "kept", aside, "rename_error", os.Rename(k.path, aside),
			"hint", "stopped processes go on by kill -CONT PID, frozen cgroups by writing 0 to cgroup.freeze")
		return k, nil
	}
	if f.Boot == k.boot {
		k.list = f.Contained
	}
	k.index()
	return k, nil
}

func (k *kept) index() {
	clear(k.held)
	for _, c := range k.list {
		for _, id := range c.Processes {
			k.held[id] = true
		}
	}
}

// holds says whether the process is one that was stopped.
func (k *kept) holds(id identity) bool { return k.held[id] }

// frozen says whether the cgroup is one that was frozen.
func (k *kept) frozen(cgroup string) bool {
	return slices.ContainsFunc(k.list, func(c Contained) bool { return c.Cgroup == cgroup && c.Action == shivx.ActionFrozen })
}

// put keeps c, in the place of what is kept of the same source for the same budget and action.
func (k *kept) put(c Contained) error {
	k.list = append(slices.DeleteFunc(k.list, func(o Contained) bool { return o.same(c) }), c)
	return k.save()
}

// of returns what is kept like c, so that c can be added to it.
func (k *kept) of(c Contained) Contained {
	for _, o := range k.list {
		if o.same(c) {
			return o
		}
	}
	return c
}

func (c Contained) same(o Contained) bool {
	return c.Source == o.Source && c.Budget == o.Budget && c.Action == o.Action
}

// remove takes what is like c off the list.
func (k *kept) remove(c Contained) error {
	k.list = slices.DeleteFunc(k.list, func(o Contained) bool { return o.same(c) })
	return k.save()
}

func (k *kept) save() error {
	k.index()
	if k.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(keptFormat{Version: 1, Boot: k.boot, Contained: k.list}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode what is frozen or limited: %w", err)
	}
	dir := filepath.Dir(k.path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("write down what is frozen or limited: %w", err)
	}
	if err := renameio.WriteFile(k.path, append(data, '\n'), 0o640); err != nil {
		return fmt.Errorf("write down what is frozen or limited: %w", err)
	}
	if err := durable.SyncDir(dir); err != nil {
		return fmt.Errorf("write down what is frozen or limited: %w", err)
	}
	return nil
}
