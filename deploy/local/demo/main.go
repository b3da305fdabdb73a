// Command shivx-demo is a small service for trying ShivX: it counts visits, keeps the count in
// a file, and answers on /healthz.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	dir := flag.String("dir", ".", "folder of the count and the pid file")
	listen := flag.String("listen", "127.0.0.1:9471", "address")
	flag.Parse()
	if err := run(*dir, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(dir, listen string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	c, err := open(filepath.Join(dir, "visits"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	pid := filepath.Join(dir, "demo.pid")
	if err := os.WriteFile(pid, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o640); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	http.HandleFunc("GET /{$}", c.visit)
	log.Printf("up, pid %d, %d visits so far", os.Getpid(), c.n)
	done := make(chan os.Signal, 1)
	signal.Notify(done, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-done
		_ = os.Remove(pid)
		os.Exit(0)
	}()
	return (&http.Server{ReadHeaderTimeout: 5 * time.Second}).Serve(l)
}

// count is the number of visits, kept in a file.
type count struct {
	mu   sync.Mutex
	path string
	n    int
}

func open(path string) (*count, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		c := &count{path: path}
		return c, c.save()
	}
	if err != nil {
		return nil, fmt.Errorf("read the count: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("the count in %s is damaged: %w", path, err)
	}
	return &count{path: path, n: n}, nil
}

func (c *count) visit(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if err := c.save(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// The client is gone when this fails.
	_ = json.NewEncoder(w).Encode(map[string]int{"visits": c.n, "pid": os.Getpid()})
}

func (c *count) save() error {
	return os.WriteFile(c.path, []byte(strconv.Itoa(c.n)+"\n"), 0o640)
}
