package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/shivx/shivx"
)

// checkPluginFiles checks that each external plugin is the executable that was trusted.
func (d *decoder) checkPluginFiles() {
	for i := range d.cfg.Plugins {
		p := &d.cfg.Plugins[i]
		if p.Path == "" || d.at(&p.Path).kind != kindText {
			continue
		}
		sum, err := hashExecutable(p.Path)
		if err != nil {
			d.add(d.at(&p.Path), "path: "+err.Error(), shivx.HintOf(err))
			continue
		}
		if sha256Pattern.MatchString(p.SHA256) && sum != p.SHA256 {
			d.add(d.at(&p.SHA256), "sha256: the plugin's file has another one",
				"if you know why the file changed and trust it, write sha256: "+sum)
		}
	}
}

// hashExecutable returns the SHA-256 of an executable file in hexadecimal digits.
func hashExecutable(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", shivx.Hint(errors.New("the file does not exist"), "a relative path begins at the folder of the configuration file")
	case err != nil:
		return "", reason(err)
	case !info.Mode().IsRegular():
		return "", errors.New("not a file")
	case info.Mode().Perm()&0o111 == 0:
		return "", shivx.Hint(errors.New("the file is not executable"), "chmod +x it")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", reason(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", reason(err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// reason returns what went wrong with a file, without its path, which the problem's line shows.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
