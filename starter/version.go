package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what the binary knows of its making.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	// Modified says that the sources differed from the revision.
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: cobra.NoArgs,
		RunE: a.does(func(*cobra.Command, []string) error {
			b := readBuild()
			if a.json() {
				return a.document(b)
			}
			revision := b.Revision
			if b.Modified {
				revision += " (modified)"
			}
			a.out.printf("shivx %s", b.Version)
			a.out.details([][2]string{{"revision", revision}, {"from", b.Time}, {"built with", b.Go + " for " + b.Platform}}...)
			return nil
		}),
	}
}

func readBuild() build {
	b := build{Version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version, b.Go = info.Main.Version, info.GoVersion
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	b.Revision, b.Time = settings["vcs.revision"], settings["vcs.time"]
	b.Modified = settings["vcs.modified"] == "true"
	b.Platform = settings["GOOS"] + "/" + settings["GOARCH"]
	if b.Version == "" {
		b.Version = "(devel)"
	}
	return b
}
