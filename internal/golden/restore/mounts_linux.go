package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/shivx/shivx"
)

// mountPoints lists the folders where file systems are mounted, and the files.
func mountPoints(mountinfo string) ([]string, error) {
	data, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("list the mount points: %w", err)
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, unescape.Replace(fields[4]))
		}
	}
	return points, nil
}

// mostLinks is how many links a path may lead through, as in the kernel.
const mostLinks = 40

// resolve follows the links in an absolute path, so far as it exists. Only links that belong to root or
// to ourselves are followed: whoever else made one could lead a restore away.
func resolve(path string) (string, error) { return follow(path, trusted) }

// follow follows the links in an absolute path, so far as it exists, and shows each before; an error of
// that ends it.
func follow(path string, show func(link string, info fs.FileInfo) error) (real string, err error) {
	real, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			real = filepath.Dir(real)
			continue
		}
		next := filepath.Join(real, part)
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return filepath.Join(append([]string{next}, rest...)...), nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			real = next
			continue
		}
		if links++; links > mostLinks {
			return "", fmt.Errorf("resolve %s: %w", path, syscall.ELOOP)
		}
		if err := show(next, info); err != nil {
			return "", err
		}
		link, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(link) {
			real = "/"
		}
		rest = append(strings.Split(link, "/"), rest...)
	}
	return real, nil
}

func trusted(path string, info fs.FileInfo) error {
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner == 0 || int(owner) == os.Geteuid() {
		return nil
	}
	return shivx.Hint(fmt.Errorf("%s is a link that user %d made", path, owner),
		"look where it leads; make it a folder, or let it belong to root, then restore again")
}
